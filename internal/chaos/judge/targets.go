package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// lookAtDirectories reads the pair of each certificate in each directory.
func (c Case) lookAtDirectories(v *Verdict) {
	for _, dir := range c.Directories {
		for _, name := range sortedKeys(c.Certificates) {
			_, why := readPair(filepath.Join(dir, name))
			if why == absent {
				continue
			}
			v.Looks++
			v.mismatch(why, filepath.Join(dir, name))
		}
	}
}

// mismatch notes a pair that is none, each of a kind once.
func (v *Verdict) mismatch(why, place string) {
	fault := place + ": " + why
	if why != "" && !slices.Contains(v.Mismatched, fault) {
		v.Mismatched = append(v.Mismatched, fault)
	}
}

const absent = "nothing is there"

// readPair reads certificate and key as a server does that opens the directory once:
// whatever is put in its place meanwhile, both come from what was opened.
func readPair(path string) (leaf *x509.Certificate, why string) {
	dir, err := os.OpenRoot(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, absent
	}
	if err != nil {
		return nil, err.Error()
	}
	defer dir.Close()
	chain, err := readIn(dir, "fullchain.pem")
	if err != nil {
		return nil, err.Error()
	}
	key, err := readIn(dir, "privkey.pem")
	if err != nil {
		return nil, err.Error()
	}
	return pair(chain, key)
}

func readIn(dir *os.Root, name string) ([]byte, error) {
	file, err := dir.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(file)
}

// pair tells the leaf of a chain, and why it does not belong to a key; "" when it
// does. The key is not shown.
func pair(chain, key []byte) (leaf *x509.Certificate, why string) {
	block, _ := pem.Decode(chain)
	if block == nil {
		return nil, "no certificate is there"
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, "the certificate cannot be read"
	}
	keys := keysIn(string(key))
	if len(keys) != 1 {
		return leaf, fmt.Sprintf("%d keys are beside certificate %x", len(keys), leaf.SerialNumber)
	}
	if spki(keys[0]) != string(leaf.RawSubjectPublicKeyInfo) {
		return leaf, fmt.Sprintf("the key is not that of certificate %x", leaf.SerialNumber)
	}
	return leaf, ""
}

// edge is a server that is asked as browsers do: a handshake that succeeds proves
// that it has the key of what it shows.
type edge struct {
	Case
	roots *x509.CertPool
}

// newEdge reads the CA's roots, which may be others than a moment ago.
func (c Case) newEdge() (edge, error) {
	text, err := os.ReadFile(c.Roots)
	if err != nil {
		return edge{}, err
	}
	e := edge{c, x509.NewCertPool()}
	e.roots.AppendCertsFromPEM(text)
	return e, nil
}

// look does a handshake for each name.
func (e edge) look(v *Verdict) {
	for _, name := range sortedKeys(e.Served) {
		for _, domain := range e.Served[name] {
			_, err := e.shake(domain)
			if errors.Is(err, errNotServed) {
				continue
			}
			v.Looks++
			if err != nil {
				v.mismatch(err.Error(), "the edge for "+domain)
			}
		}
	}
}

var errNotServed = errors.New("it is not served")

// shake returns the leaf that is shown for a domain. That it has expired meanwhile is
// no matter here.
func (e edge) shake(domain string) (*x509.Certificate, error) {
	var shown *x509.Certificate
	config := &tls.Config{
		ServerName:         strings.Replace(domain, "*", "any", 1),
		InsecureSkipVerify: true, // VerifyConnection does it, at a time when it was valid
	}
	config.VerifyConnection = func(state tls.ConnectionState) error {
		shown = state.PeerCertificates[0]
		between := x509.NewCertPool()
		for _, certificate := range state.PeerCertificates[1:] {
			between.AddCert(certificate)
		}
		_, err := shown.Verify(x509.VerifyOptions{DNSName: config.ServerName, Roots: e.roots, Intermediates: between, CurrentTime: shown.NotBefore})
		return err
	}
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	connection, err := tls.DialWithDialer(dialer, "tcp", e.Edge, config)
	if err != nil {
		if refused := new(net.OpError); errors.As(err, &refused) && refused.Op == "remote error" {
			return nil, errNotServed // the server's alert: it has nothing for this name
		}
		return nil, err
	}
	return shown, connection.Close()
}

// compare tells which targets do not serve what Vault holds now.
func (c Case) compare(v *Verdict, vault *contents) error {
	edge, err := c.newEdge()
	if err != nil {
		return err
	}
	for _, name := range sortedKeys(c.Certificates) {
		want := vault.current[name]
		if want == nil {
			v.Behind = append(v.Behind, "Vault holds no certificate "+name)
			continue
		}
		for _, dir := range c.Directories {
			leaf, why := readPair(filepath.Join(dir, name))
			if leaf == nil || !bytes.Equal(leaf.Raw, want) {
				v.Behind = append(v.Behind, fmt.Sprintf("%s does not hold what Vault does %s", filepath.Join(dir, name), why))
			}
		}
		for _, domain := range c.Served[name] {
			leaf, err := edge.shake(domain)
			if err != nil || !bytes.Equal(leaf.Raw, want) {
				v.Behind = append(v.Behind, fmt.Sprintf("the edge does not serve what Vault holds for %s (%v)", domain, err))
			}
		}
	}
	return nil
}
