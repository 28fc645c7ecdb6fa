// Package wire lets the shipped binary look at what the world is served: by a CDN that
// takes a certificate and goes on serving the old one, by an nginx that was not
// reloaded, and, over a thousand certificates, by servers with one of twenty faults.
//
// The table of docs/audit.md is what the audit printed of each; it is written by
//
//	go test ./internal/e2e/wire -run TestTwentyFaults -update
package wire

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/world"
)

func TestMain(m *testing.M) { world.Main(m) }

// edge is a server with several addresses and one port, as a CDN has. It goes on
// serving what it was given last.
type edge struct {
	port  string
	hosts []string

	mu    sync.Mutex
	shown map[string]*tls.Config // by host and name
}

// newEdge listens at hosts until the test ends.
func newEdge(t *testing.T, hosts ...string) *edge {
	t.Helper()
	e := &edge{hosts: hosts, shown: map[string]*tls.Config{}, port: "0"}
	for _, host := range hosts {
		listener, err := net.Listen("tcp", net.JoinHostPort(host, e.port))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = listener.Close() })
		_, e.port, _ = net.SplitHostPort(listener.Addr().String())
		go e.serve(host, listener)
	}
	return e
}

func (e *edge) serve(host string, listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			client := tls.Server(conn, &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
				e.mu.Lock()
				defer e.mu.Unlock()
				if config := e.shown[host+" "+hello.ServerName]; config != nil {
					return config, nil
				}
				return nil, fmt.Errorf("%s is not served", hello.ServerName)
			}})
			if client.Handshake() == nil {
				_, _ = client.Read(make([]byte, 1))
			}
		}()
	}
}

// show has the edge serve a certificate for a name, at all of its addresses or at some.
func (e *edge) show(name string, pair certs.Pair, at ...string) {
	e.configure(name, &tls.Config{Certificates: []tls.Certificate{keyed(pair)}}, at...)
}

func (e *edge) configure(name string, config *tls.Config, at ...string) {
	if len(at) == 0 {
		at = e.hosts
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, host := range at {
		e.shown[host+" "+name] = config
	}
}

func keyed(pair certs.Pair) tls.Certificate {
	certificate := tls.Certificate{PrivateKey: pair.Key}
	for _, c := range pair.Chain {
		certificate.Certificate = append(certificate.Certificate, c.Raw)
	}
	return certificate
}

// resolving gives the program another /etc/hosts, in a mount namespace of its own. A name
// may have several addresses there.
func resolving(w *world.World, hosts map[string][]string) *world.World {
	w.T.Helper()
	var lines strings.Builder
	for name, addresses := range hosts {
		for _, address := range addresses {
			fmt.Fprintf(&lines, "%s %s\n", address, name)
		}
	}
	script := fmt.Sprintf("#!/bin/sh\nexec unshare %s sh -c 'mount --bind \"$0\" /etc/hosts && exec \"$@\"' %s %s \"$@\"\n",
		namespace(w.T), w.File("hosts", lines.String()), w.Binary)
	within := *w
	within.Binary = w.File("anycert-elsewhere", script)
	w.Must(os.Chmod(within.Binary, 0o700))
	return &within
}

// namespace is how unshare makes a namespace in which a file can be mounted: root may,
// and everybody else is root in one of their own, where the machine allows that.
func namespace(t *testing.T) (option string) {
	t.Helper()
	var said []byte
	for _, option := range []string{"-m", "-rm"} {
		out, err := exec.CommandContext(t.Context(), "unshare", option, "mount", "--bind", "/etc/hosts", "/etc/hosts").CombinedOutput()
		if err == nil {
			return option
		}
		said = append(said, fmt.Sprintf("\nunshare %s: %v: %s", option, err, out)...)
	}
	t.Fatalf("this test gives anycert another /etc/hosts, in a mount namespace of its own: run it as root (in a container with the capability SYS_ADMIN), "+
		"or let everybody make user namespaces (kernel.apparmor_restrict_unprivileged_userns=0 on Ubuntu)%s", said)
	return ""
}

// A CDN that takes a certificate and goes on serving the old one is caught, at each of
// its addresses, and named; and so is the end of it.
func TestCDNThatAcceptsAndServesTheOldOne(t *testing.T) {
	w := world.New(t, world.Options{})
	cdn := newEdge(t, "127.0.0.7", "127.0.0.8", "::1")
	w = resolving(w, map[string][]string{"www.example.com": cdn.hosts, "localhost": {"127.0.0.1"}})
	config := w.Config("config.yaml", fmt.Sprintf(`version: 1
owner: hub
store: {{.Store .Root}}
http: {listen: "127.0.0.1:0"}
certificates: [{name: shop, domains: [www.example.com]}]
sinks:
  - name: cdn
    type: fastly
    certificates: [shop]
    config: { {{.AtFastly}} }
    verify: [{address: "www.example.com:%s"}]
reconcile: {schedule: "@every 5s"}
`, cdn.port), w)
	issue := func() certs.Pair {
		pair := testenv.IssueFrom(t, w.Strangers, certs.Options{Names: []string{"www.example.com"}, Intermediate: true})
		w.Put("shop", pair)
		return pair
	}
	old := issue()
	cdn.show("www.example.com", old)
	w.Kept(w.Report(0, config, "sync"))
	if r := w.Run(config, "audit"); r.Code != 0 || !r.Says("on the wire: 1 served") {
		t.Fatal(r)
	}

	fresh := issue()
	cdn.show("www.example.com", fresh, "127.0.0.8")
	w.Kept(w.Report(0, config, "sync")) // Fastly says that it has it
	audit := w.Run(config, "audit")
	for _, want := range []string{
		"1 promise: 1 kept", "on the wire: 1 behind",
		"wire: certificate shop at cdn " + world.TLSConfiguration + "/www.example.com: www.example.com:" + cdn.port +
			": another certificate is served, valid until " + old.Leaf().NotAfter.UTC().Format("2006-01-02 15:04:05Z") +
			", issued by anycert test intermediate, at 2 of 3 addresses (127.0.0.7, ::1)",
		"the target holds the store's version, and Fastly goes on serving this: look whether the DNS record of www.example.com leads to the TLS configuration " + world.TLSConfiguration,
	} {
		if !audit.Says(want) {
			t.Errorf("it does not say %q", want)
		}
	}
	if audit.Code != 2 || t.Failed() {
		t.Fatal(audit)
	}
	p := promises(t, w.Run(config, "audit", "-o", "json"))[0]
	serial := fresh.Leaf().SerialNumber.String()
	if p.Store.Serial != serial || p.Holds.Serial != serial || p.Declared.Names[0] != "www.example.com" || p.Wire.State != "behind" || len(p.Wire.Addresses) != 3 {
		t.Errorf("%+v", p)
	}
	for _, a := range p.Wire.Addresses {
		want, state := old.Leaf().SerialNumber.String(), "behind"
		if a.IP == "127.0.0.8" {
			want, state = serial, "served"
		}
		if a.Serial != want || a.State != state {
			t.Errorf("%+v", a)
		}
	}

	d := w.Daemon(config)
	d.Await("the daemon sees it", func() error {
		if d.Said("the world is served something else")["certificate"] != "shop" {
			return fmt.Errorf("it does not say so")
		}
		return nil
	})
	d.Answers("/metrics", 200, `anycert_wire{certificate="shop",sink="cdn",wire="behind"} 1`)
	cdn.show("www.example.com", fresh)
	d.Await("the daemon sees the end of it", func() error {
		if d.Said("the world is served it again")["certificate"] != "shop" {
			return fmt.Errorf("it does not say so")
		}
		return nil
	})
	d.End()
	if r := w.Run(config, "audit"); r.Code != 0 {
		t.Error(r)
	}
}

// The files are right, and nginx was not told: that is seen, and so is what the reload
// changes.
func TestNginxThatWasNotReloaded(t *testing.T) {
	w := world.New(t, world.Options{})
	put := func() certs.Pair {
		pair := testenv.IssueFrom(t, w.Strangers, certs.Options{Intermediate: true})
		w.Put("example", pair)
		return pair
	}
	config := func(verify string) string {
		return w.Config("config.yaml", `version: 1
owner: hub
store: {{.Store .Root}}
certificates: [{name: example, domains: [example.com]`+verify+`}]
sinks: [{name: nginx, type: file, certificates: [example], config: {dir: {{.Files}}}}]
`, w)
	}
	put()
	w.Kept(w.Report(0, config(""), "sync"))
	nginx := testenv.Nginx(t, w.Files+"/example")
	looking := config(fmt.Sprintf(`, verify: [{address: %q, server_name: example.com, ca_bundle: %s}]`, nginx.Addr, w.File("roots.pem", string(w.Strangers.PEM()))))
	if r := w.Run(looking, "audit"); r.Code != 0 || !r.Says("on the wire: 1 served") {
		t.Fatal(r)
	}
	fresh := put()
	w.Kept(w.Report(0, looking, "sync"))
	if r := w.Run(looking, "audit"); r.Code != 2 || !r.Says("another certificate is served") || !r.Says("have the server read it again (a reload)") {
		t.Fatal(r)
	}
	w.Must(nginx.Reload())
	w.Must(nginx.WaitServing(t.Context(), fresh.Leaf()))
	if r := w.Run(looking, "audit"); r.Code != 0 {
		t.Error(r)
	}

	// A renewal whose chain has a gap is a promise that is kept, and a certificate that
	// clients refuse.
	gap := testenv.IssueFrom(t, w.Strangers, certs.Options{Intermediate: true})
	gap.ChainPEM = certs.ChainPEM(gap.Leaf())
	w.Put("example", gap)
	w.Kept(w.Report(0, looking, "sync"))
	w.Must(nginx.Reload())
	w.Must(nginx.WaitServing(t.Context(), gap.Leaf()))
	if r := w.Run(looking, "audit"); r.Code != 2 || !r.Says("the chain lacks its intermediate, in the store as well") {
		t.Error(r)
	}
	if r := w.Run(config(", verify: false"), "audit"); r.Code != 0 || strings.Contains(r.Stdout, "wire") {
		t.Error(r)
	}
}
