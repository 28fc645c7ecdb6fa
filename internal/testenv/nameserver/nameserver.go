// Package nameserver runs BIND and Knot, the name servers from Debian, without
// privileges on a loopback port. Their zones take TXT records by dynamic
// updates (RFC 2136) from who has the TSIG key, as a careful operator would
// have it for ACME.
//
// Several make a small Internet: an NS record names no port, so they listen at
// addresses of their own, of 127.0.0.0/8, on one common port, see Net. BIND asks other
// servers at that port as well, so that it can resolve from a root of our own.
package nameserver

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/miekg/dns"

	"github.com/anycert/anycert/internal/testenv/parts"
	"github.com/anycert/anycert/internal/testenv/process"
)

// The TSIG key's name and algorithm; its secret is new for each server.
const (
	KeyName   = "acme."
	Algorithm = dns.HmacSHA256
)

// Server is a running name server.
type Server struct {
	Addr   string // HOST:PORT, UDP and TCP
	Secret string // of the TSIG key, in base64

	process *process.Process
	relay   *relay // nil where the server listens at Addr itself
}

// Close ends the server.
func (s *Server) Close() {
	if s.relay != nil {
		s.relay.Close()
	}
	s.process.Stop()
}

// Options say what a server serves.
type Options struct {
	Addr  string // HOST:PORT of loopback; default: a free port of 127.0.0.1
	Zones []Zone

	// Root is the address of a root server, without a port: the server resolves names
	// for everybody. Anchors are what it trusts in DNSSEC, in the words of BIND's
	// trust-anchors. Both are BIND's alone.
	Root    string
	Anchors []string
}

// Zone is one that a server is authoritative for.
type Zone struct {
	Name string // without the final dot; "." is the root
	// Records are in the words of a zone file, beside the SOA record. None: the zone
	// has one name server, at 127.0.0.1.
	Records []string
	Serial  int // default: 1
	// From is the primary, HOST:PORT, that the zone is transferred from; To are those
	// that transfer it from here, and are told of changes.
	From   string
	To     []string
	Closed bool // takes no updates
	Broken bool // cannot be loaded: everything about it is answered SERVFAIL
}

// kind is what differs between the two.
type kind struct {
	name, program string
	args          []string // after the config's path
	config        *template.Template
	folders       []string // that it wants to find
	relayed       bool     // it listens at 127.0.0.1 alone
}

// StartBIND starts named with its files in dir.
func StartBIND(ctx context.Context, dir string, zones ...string) (*Server, error) {
	return BIND(ctx, dir, Options{Zones: plain(zones)})
}

// StartKnot starts knotd with its files in dir.
func StartKnot(ctx context.Context, dir string, zones ...string) (*Server, error) {
	return Knot(ctx, dir, Options{Zones: plain(zones)})
}

// BIND starts named with its files in dir.
func BIND(ctx context.Context, dir string, o Options) (*Server, error) {
	return start(ctx, dir, o, kind{name: "BIND", program: "named", args: []string{"-g", "-4", "-n", "1"}, config: bind, relayed: true})
}

// Knot starts knotd with its files in dir.
func Knot(ctx context.Context, dir string, o Options) (*Server, error) {
	if o.Root != "" || len(o.Anchors) > 0 {
		return nil, errors.New("starting Knot: it does not resolve names, BIND does")
	}
	return start(ctx, dir, o, kind{name: "Knot", program: "knotd", config: knot, folders: []string{"db"}})
}

func plain(names []string) (zones []Zone) {
	for _, name := range names {
		zones = append(zones, Zone{Name: name})
	}
	return zones
}

func start(ctx context.Context, dir string, o Options, k kind) (*Server, error) {
	program, err := parts.Program(k.program)
	if err != nil {
		return nil, err
	}
	if o.Addr == "" {
		if o.Addr, err = freeAddr(); err != nil {
			return nil, err
		}
	}
	secret := make([]byte, 32)
	rand.Read(secret) // never fails, see its documentation
	s := &Server{Addr: o.Addr, Secret: base64.StdEncoding.EncodeToString(secret)}
	listen := o.Addr
	if k.relayed && host(o.Addr) != "127.0.0.1" {
		if listen, err = freeAddr(); err != nil {
			return nil, err
		}
		if s.relay, err = startRelay(o.Addr, listen); err != nil {
			return nil, fmt.Errorf("starting %s: %w", k.name, err)
		}
	}
	config, err := s.writeFiles(dir, listen, o, k)
	if err != nil {
		return nil, fmt.Errorf("writing the files of %s: %w", k.name, err)
	}
	s.process, err = process.Start(process.Spec{
		Name: k.program, Path: program, Args: append([]string{"-c", config}, k.args...), Dir: dir})
	if err != nil {
		return nil, err
	}
	if err := s.process.WaitUntil(ctx, "answers", s.answers); err != nil {
		s.Close()
		return nil, err
	}
	for _, zone := range o.Zones {
		if zone.Broken {
			continue
		}
		if err := s.process.WaitUntil(ctx, "serves "+zone.Name, s.serves(zone.Name)); err != nil {
			s.Close()
			return nil, err
		}
	}
	return s, nil
}

// freeAddr is process.FreeAddr with a port that is free for UDP as well.
func freeAddr() (string, error) {
	var failures error
	for range 20 {
		addr, err := process.FreeAddr()
		if err != nil {
			return "", err
		}
		udp, err := net.ListenPacket("udp", addr)
		if err == nil {
			return addr, udp.Close()
		}
		failures = errors.Join(failures, err)
	}
	return "", fmt.Errorf("picking a port: %w", failures)
}

func (s *Server) writeFiles(dir, listen string, o Options, k kind) (config string, err error) {
	var failures error
	for _, folder := range k.folders {
		failures = errors.Join(failures, os.MkdirAll(filepath.Join(dir, folder), 0o700))
	}
	for _, zone := range o.Zones {
		if zone.From == "" {
			failures = errors.Join(failures, os.WriteFile(filepath.Join(dir, zone.File()), []byte(zone.text()), 0o600))
		}
	}
	if o.Root != "" {
		hints := fmt.Sprintf(". 3600 IN NS root.\nroot. 3600 IN A %s\n", o.Root)
		failures = errors.Join(failures, os.WriteFile(filepath.Join(dir, "hints"), []byte(hints), 0o600))
	}
	var text strings.Builder
	err = k.config.Execute(&text, map[string]any{"Dir": dir, "Listen": listen, "Port": port(s.Addr), "Secret": s.Secret,
		"Zones": o.Zones, "Root": o.Root, "Anchors": o.Anchors})
	config = filepath.Join(dir, k.program+".conf")
	return config, errors.Join(failures, err, os.WriteFile(config, []byte(text.String()), 0o600))
}

// answers asks whatever, and is content with any answer.
func (s *Server) answers(ctx context.Context) error {
	question := new(dns.Msg).SetQuestion("version.bind.", dns.TypeTXT)
	question.Question[0].Qclass = dns.ClassCHAOS
	_, err := dns.ExchangeContext(ctx, question, s.Addr)
	return err
}

// serves asks for the zone's SOA.
func (s *Server) serves(zone string) func(context.Context) error {
	return func(ctx context.Context) error {
		question := new(dns.Msg).SetQuestion(dns.Fqdn(zone), dns.TypeSOA)
		reply, err := dns.ExchangeContext(ctx, question, s.Addr)
		if err != nil {
			return err
		}
		if len(reply.Answer) == 0 {
			return fmt.Errorf("no SOA of %s: %s", zone, dns.RcodeToString[reply.Rcode])
		}
		return nil
	}
}
