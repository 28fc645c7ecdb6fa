package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/process"
)

// server is a TLS server on a loopback address that counts its visitors.
type server struct {
	addr   netip.AddrPort
	visits atomic.Int64
	sent   atomic.Int64 // bytes that came after the handshakes
}

func serve(t *testing.T, host string, config *tls.Config) *server {
	t.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	s := &server{addr: netip.MustParseAddrPort(listener.Addr().String())}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			s.visits.Add(1)
			go func() {
				defer conn.Close()
				client := tls.Server(conn, config)
				if client.Handshake() == nil {
					n, _ := io.Copy(io.Discard, client)
					s.sent.Add(n)
				}
			}()
		}
	}()
	return s
}

func pairOf(p certs.Pair) tls.Certificate {
	pair := tls.Certificate{PrivateKey: p.Key}
	for _, c := range p.Chain {
		pair.Certificate = append(pair.Certificate, c.Raw)
	}
	return pair
}

func at(s *server, name string) anycert.Endpoint {
	return anycert.Endpoint{Address: s.addr.String(), ServerName: name}
}

// one looks at one endpoint.
func one(t *testing.T, w *Witness, e anycert.Endpoint, kind anycert.KeyType) []anycert.Served {
	t.Helper()
	return w.Look(t.Context(), []anycert.Handshake{{Endpoint: e, KeyType: kind}})[0]
}

func wantChain(t *testing.T, seen []anycert.Served, want certs.Pair) {
	t.Helper()
	for _, s := range seen {
		if s.Err != nil || anycert.DigestOf(s.Chain) != anycert.DigestOf(want.Chain) || s.At.IsZero() || !s.IP.IsValid() {
			t.Errorf("%s: %d certificates, %v", s.IP, len(s.Chain), s.Err)
		}
	}
	if len(seen) == 0 {
		t.Error("nothing was seen")
	}
}

// The whole chain is seen, trusted or not, for the name that is asked for; nothing is
// sent, and no more than one handshake is made.
func TestLook(t *testing.T) {
	ca := testenv.CA(t)
	app := testenv.IssueFrom(t, ca, certs.Options{Names: []string{"app.example.com"}, Intermediate: true})
	other := testenv.IssueFrom(t, ca, certs.Options{Names: []string{"example.org"}, SelfSigned: true, NotAfter: time.Now().Add(-time.Minute)})
	for _, host := range []string{"127.0.0.1", "127.0.0.9", "::1"} {
		t.Run(host, func(t *testing.T) {
			s := serve(t, host, &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
				pair := pairOf(app)
				if hello.ServerName == "example.org" {
					pair = pairOf(other)
				}
				return &pair, nil
			}})
			wanted := []anycert.Handshake{{Endpoint: at(s, "app.example.com"), KeyType: anycert.EC256}, {Endpoint: at(s, "example.org"), KeyType: anycert.EC256},
				{Endpoint: at(s, "app.example.com"), KeyType: anycert.EC384}}
			seen := New(Options{}).Look(t.Context(), wanted)
			wantChain(t, seen[0], app)
			wantChain(t, seen[1], other)
			wantChain(t, seen[2], app)
			if n := s.visits.Load(); n != 2 {
				t.Errorf("%d handshakes for two names", n)
			}
			if n := s.sent.Load(); n != 0 {
				t.Errorf("%d bytes were sent", n)
			}
		})
	}
}

// A server may have a certificate for each kind of client.
func TestTwoCertificates(t *testing.T) {
	ca := testenv.CA(t)
	elliptic := testenv.IssueFrom(t, ca, certs.Options{Names: []string{"app.example.com"}})
	rsa := testenv.IssueFrom(t, ca, certs.Options{Names: []string{"app.example.com"}, KeyType: certs.RSA2048})
	both := &tls.Config{Certificates: []tls.Certificate{pairOf(rsa), pairOf(elliptic)}}
	s := serve(t, "127.0.0.1", both)
	w := New(Options{})
	wantChain(t, one(t, w, at(s, "app.example.com"), anycert.RSA2048), rsa)
	wantChain(t, one(t, w, at(s, "app.example.com"), anycert.EC256), elliptic)

	single := serve(t, "127.0.0.1", &tls.Config{Certificates: []tls.Certificate{pairOf(rsa)}})
	wantChain(t, one(t, w, at(single, "app.example.com"), anycert.EC256), rsa) // it has no other: that is what is served

	modern := serve(t, "127.0.0.1", &tls.Config{Certificates: []tls.Certificate{pairOf(rsa), pairOf(elliptic)}, MinVersion: tls.VersionTLS13})
	for kind, pair := range map[anycert.KeyType]certs.Pair{anycert.EC256: elliptic, anycert.RSA2048: rsa} {
		seen := one(t, w, at(modern, "app.example.com"), kind)[0]
		if seen.Err == nil && anycert.DigestOf(seen.Chain) != anycert.DigestOf(pair.Chain) {
			t.Errorf("%s: it is taken for sure that there is no other certificate", kind)
		}
	}
}

// Old servers, and those that want to know their clients, are seen too.
func TestOtherServers(t *testing.T) {
	pair := testenv.Issue(t, certs.Options{})
	for name, config := range map[string]*tls.Config{
		"TLS 1.2":                        {MaxVersion: tls.VersionTLS12},
		"TLS 1.3":                        {MinVersion: tls.VersionTLS13},
		"client certificates in TLS 1.2": {MaxVersion: tls.VersionTLS12, ClientAuth: tls.RequireAnyClientCert},
		"client certificates in TLS 1.3": {MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAnyClientCert},
	} {
		config.Certificates = []tls.Certificate{pairOf(pair)}
		t.Run(name, func(t *testing.T) {
			wantChain(t, one(t, New(Options{}), at(serve(t, "127.0.0.1", config), "example.com"), anycert.EC256), pair)
		})
	}
}

// A and AAAA are looked up each, and each address is looked at.
func TestAddresses(t *testing.T) {
	pair := testenv.Issue(t, certs.Options{})
	s := serve(t, "127.0.0.1", &tls.Config{Certificates: []tls.Certificate{pairOf(pair)}})
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		switch {
		case strings.HasPrefix(address, "192.0.2."):
			return new(net.Dialer).DialContext(ctx, network, s.addr.String())
		case address == "[2001:db8::1]:443":
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ENETUNREACH}
		}
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	parse := func(texts ...string) (addresses []netip.Addr) {
		for _, text := range texts {
			addresses = append(addresses, netip.MustParseAddr(text))
		}
		return addresses
	}
	resolve := func(_ context.Context, network, host string) ([]netip.Addr, error) {
		switch network + " " + host {
		case "ip4 app.example.com", "ip4 half.example.com":
			return parse("192.0.2.8", "192.0.2.7"), nil
		case "ip6 app.example.com":
			return parse("2001:db8::1", "2001:db8::2"), nil
		case "ip6 half.example.com":
			return nil, &net.DNSError{Err: "server misbehaving", Name: host, IsTemporary: true}
		}
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	w := New(Options{Resolve: resolve, Dial: dial})
	endpoint := func(host string) anycert.Endpoint {
		return anycert.Endpoint{Address: host + ":443", ServerName: "example.com"}
	}
	app := one(t, w, endpoint("app.example.com"), "")
	if len(app) != 4 {
		t.Fatalf("%+v", app)
	}
	wantChain(t, app[:2], pair)
	if app[0].IP.String() != "192.0.2.7" || !errors.Is(app[2].Err, anycert.ErrNoRoute) || app[3].Err == nil || errors.Is(app[3].Err, anycert.ErrNoRoute) {
		t.Errorf("%v, %v, %v", app[0].IP, app[2].Err, app[3].Err)
	}
	if half := one(t, w, endpoint("half.example.com"), ""); len(half) != 3 || half[2].Err == nil ||
		half[2].Err.Error() != "half.example.com could not be looked up (AAAA): server misbehaving" {
		t.Errorf("%+v", half)
	}
	if none := one(t, w, endpoint("none.example.com"), ""); len(none) != 1 || none[0].Err == nil || none[0].Err.Error() != "none.example.com has no address in the DNS" {
		t.Errorf("%+v", none)
	}
}

// What is deaf, mute or no TLS server is told as that, within the time limit, and an
// address to which there is no connection is tried once for all names.
func TestNothingToSee(t *testing.T) {
	listen := func(then func(net.Conn)) netip.AddrPort {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = listener.Close() })
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				then(conn)
			}
		}()
		return netip.MustParseAddrPort(listener.Addr().String())
	}
	closed, release, err := process.Hold()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	pair := testenv.Issue(t, certs.Options{})
	strict := serve(t, "127.0.0.1", &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if hello.ServerName != "example.com" {
			return nil, errors.New("unknown name")
		}
		pair := pairOf(pair)
		return &pair, nil
	}})
	for name, test := range map[string]struct{ address, says string }{
		"mute":           {listen(func(net.Conn) {}).String(), "it took the connection, and did not shake hands within the time limit"},
		"plain HTTP":     {listen(func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n"); _ = c.Close() }).String(), "no TLS handshake: "},
		"hangs up":       {listen(func(c net.Conn) { _ = c.Close() }).String(), "no TLS handshake: "},
		"nobody there":   {closed, "no connection: connection refused"},
		"another's name": {strict.addr.String(), "it refused the handshake for this name: "},
	} {
		t.Run(name, func(t *testing.T) {
			limit := time.Minute
			if name == "mute" {
				limit = 300 * time.Millisecond
			}
			begin := time.Now()
			seen := one(t, New(Options{Timeout: limit}), anycert.Endpoint{Address: test.address, ServerName: "other.example.com"}, anycert.EC256)
			if len(seen) != 1 || seen[0].Err == nil || !strings.HasPrefix(seen[0].Err.Error(), test.says) {
				t.Errorf("%+v", seen)
			}
			if took := time.Since(begin); took > 5*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
	t.Run("many names", func(t *testing.T) {
		var dials atomic.Int64
		w := New(Options{Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			dials.Add(1)
			<-ctx.Done()
			return nil, ctx.Err()
		}, Timeout: 100 * time.Millisecond})
		var wanted []anycert.Handshake
		for i := range 1000 {
			wanted = append(wanted, anycert.Handshake{Endpoint: anycert.Endpoint{Address: "192.0.2.1:443", ServerName: strings.Repeat("a", i%60+1) + ".example.com"}})
			wanted[i].Endpoint.ServerName += string(rune('a' + i/60))
		}
		seen := w.Look(t.Context(), wanted)
		if n := dials.Load(); n > atOnce {
			t.Errorf("%d connections were tried to a dead address", n)
		}
		if len(seen) != 1000 || seen[999][0].Err == nil || seen[999][0].Err.Error() != "no connection within the time limit" {
			t.Errorf("%+v", seen[len(seen)-1])
		}
	})
}

// nginx from Debian, with its intermediate and without.
func TestNginx(t *testing.T) {
	ca := testenv.CA(t)
	for _, whole := range []bool{true, false} {
		pair := testenv.IssueFrom(t, ca, certs.Options{Intermediate: true})
		if !whole {
			pair.Chain = pair.Chain[:1]
			pair.ChainPEM = certs.ChainPEM(pair.Chain...)
		}
		nginx := testenv.Nginx(t, folder(t, pair))
		wantChain(t, one(t, New(Options{}), anycert.Endpoint{Address: nginx.Addr, ServerName: "example.com"}, anycert.EC256), pair)
	}
}

// folder holds a pair as nginx reads it.
func folder(t *testing.T, pair certs.Pair) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string][]byte{"fullchain.pem": pair.ChainPEM, "privkey.pem": pair.KeyPEM} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
