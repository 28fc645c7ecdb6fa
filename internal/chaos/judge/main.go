// Command judge tells what became of certificates whose daemon was killed again and
// again. It shares no code with the daemon, imports nothing but the standard library,
// and asks the daemon nothing: it reads the records of the CA, every version of every
// path of Vault, and what the targets serve.
//
//	judge CASE.json
//
// It looks at the targets again and again until its input ends, and then at
// everything. On standard output it writes a [Verdict] as JSON; its exit code is 0
// also when that is a bad one.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// Case says where to look.
type Case struct {
	Records string // URL of the CA's records: a list of orders
	Crashes string // file: the times of the crashes, a line each, RFC 3339

	Vault  string // address
	Token  string // with every right
	Mount  string
	Prefix string

	Directories []string // each holds a directory for each certificate
	Edge        string   // host:port that serves all certificates by SNI
	Roots       string   // file of the CA's roots, for Edge

	Certificates map[string][]string // names by certificate
	Served       map[string][]string // those of them that Edge serves
}

// Verdict is what was found. Each fault is a sentence.
type Verdict struct {
	Crashes      int // as the file says
	Orders       int // made at the CA
	Certificates int // issued by the CA
	Versions     int // of certificates, in Vault
	Looks        int // at pairs, in directories and by handshakes

	KeysLost   []string // certificates of the CA whose key nobody has
	Beyond     []string // certificates that were issued before they were due
	Orphans    []string // orders beyond one for each crash
	Mismatched []string // certificates and keys that do not belong together
	Left       []string // keys of orders that are still in Vault
	Behind     []string // targets that do not serve what Vault holds
}

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "judge:", err)
		os.Exit(1)
	}
}

func run(args []string, end io.Reader, out io.Writer) error {
	if len(args) != 1 {
		return errors.New("usage: judge CASE.json")
	}
	text, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	var c Case
	if err := json.Unmarshal(text, &c); err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	var v Verdict
	if err := c.watch(end, &v); err != nil {
		return err
	}
	if err := c.judge(&v); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(v)
}

// watch looks at the targets until end does.
func (c Case) watch(end io.Reader, v *Verdict) error {
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, end)
		close(ended)
	}()
	directories, handshakes := time.NewTicker(3*time.Millisecond), time.NewTicker(100*time.Millisecond)
	defer directories.Stop()
	defer handshakes.Stop()
	for {
		select {
		case <-ended:
			return nil
		case <-directories.C:
			c.lookAtDirectories(v)
		case <-handshakes.C:
			edge, err := c.newEdge()
			if err != nil {
				return err
			}
			edge.look(v)
		}
	}
}

// judge looks at everything, once the daemon has come to rest.
func (c Case) judge(v *Verdict) error {
	orders, err := c.orders()
	if err != nil {
		return err
	}
	crashes, err := c.crashes()
	if err != nil {
		return err
	}
	vault, err := c.readVault()
	if err != nil {
		return err
	}
	v.Crashes, v.Orders, v.Versions = len(crashes), len(orders), vault.certificates
	v.Mismatched = append(v.Mismatched, vault.mismatched...)
	v.Left = vault.left
	v.countOrders(orders, crashes)
	v.countKeys(orders, vault.keys)
	c.lookAtDirectories(v)
	return c.compare(v, vault)
}
