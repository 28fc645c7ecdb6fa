// Package nginxserver runs nginx from Debian on a loopback port with a
// certificate from a folder, for handshakes that no code of ours stands behind.
package nginxserver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/anycert/anycert/internal/testenv/parts"
	"github.com/anycert/anycert/internal/testenv/process"
)

// Server is a running nginx.
type Server struct {
	Addr string // 127.0.0.1:PORT, TLS

	program, dir, config string
	process              *process.Process
}

const config = `
daemon off;
pid %[1]s/nginx.pid;
error_log stderr warn;
events { }
http {
  access_log off;
  client_body_temp_path %[1]s/body;
  proxy_temp_path %[1]s/proxy;
  fastcgi_temp_path %[1]s/fastcgi;
  uwsgi_temp_path %[1]s/uwsgi;
  scgi_temp_path %[1]s/scgi;
  server {
    listen %[2]s ssl;
    ssl_certificate %[3]s/fullchain.pem;
    ssl_certificate_key %[3]s/privkey.pem;
    location / { return 200 "served\n"; }
  }
}
`

// Start starts nginx with its own files in dir and the certificate that
// certDir/fullchain.pem and certDir/privkey.pem hold, which must exist.
func Start(ctx context.Context, dir, certDir string) (*Server, error) {
	program, err := parts.Program("nginx")
	if err != nil {
		return nil, err
	}
	addr, err := process.FreeAddr()
	if err != nil {
		return nil, err
	}
	s := &Server{Addr: addr, program: program, dir: dir, config: filepath.Join(dir, "nginx.conf")}
	if err := os.WriteFile(s.config, fmt.Appendf(nil, config, dir, addr, certDir), 0o600); err != nil {
		return nil, fmt.Errorf("writing nginx's config: %w", err)
	}
	s.process, err = process.Start(process.Spec{Name: "nginx", Path: program, Args: s.args(), Dir: dir})
	if err != nil {
		return nil, err
	}
	err = s.process.WaitUntil(ctx, "serves", func(ctx context.Context) error {
		_, err := Handshake(ctx, s.Addr, "")
		return err
	})
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Server) args() []string { return []string{"-p", s.dir, "-c", s.config} }

// Close ends the server.
func (s *Server) Close() { s.process.Stop() }

// ReloadCommand is the command that makes this nginx read its certificate
// again, for a config's reload.
func (s *Server) ReloadCommand() []string {
	return append(append([]string{s.program}, s.args()...), "-s", "reload")
}

// Reload sends SIGHUP. nginx reads its files soon after, see WaitServing.
func (s *Server) Reload() error { return s.process.Signal(syscall.SIGHUP) }

// overlap is longer than nginx lets old workers answer beside the new ones
// after a reload: a tenth of a second.
const overlap = 250 * time.Millisecond

// WaitServing shakes hands until nginx serves this leaf and nothing else, as it
// does a moment after a reload, and fails after a minute.
func (s *Server) WaitServing(ctx context.Context, leaf *x509.Certificate) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	what := fmt.Sprintf("serves the certificate %x", leaf.SerialNumber)
	var since time.Time // of the first handshake in a row that showed it
	return s.process.WaitUntil(ctx, what, func(ctx context.Context) error {
		chain, err := Handshake(ctx, s.Addr, "")
		if err == nil && !chain[0].Equal(leaf) {
			err = fmt.Errorf("it serves %x", chain[0].SerialNumber)
		}
		switch {
		case err != nil:
			since = time.Time{}
			return err
		case since.IsZero():
			since = time.Now()
		}
		if time.Since(since) < overlap {
			return errors.New("an old worker may still answer")
		}
		return nil
	})
}

// Handshake returns the chain that a TLS server at addr presents to who asks
// for name, which may be empty. The chain is not verified.
func Handshake(ctx context.Context, addr, name string) ([]*x509.Certificate, error) {
	dialer := &tls.Dialer{Config: &tls.Config{ServerName: name, InsecureSkipVerify: true}} // any chain is wanted
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("shaking hands with %s: %w", addr, err)
	}
	defer conn.Close()
	chain := conn.(*tls.Conn).ConnectionState().PeerCertificates
	if len(chain) == 0 {
		return nil, errors.New("the server presented no certificate")
	}
	return chain, nil
}
