package consumers

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/anycert/anycert/internal/testenv/nginxserver"
	"github.com/anycert/anycert/internal/testenv/parts"
	"github.com/anycert/anycert/internal/testenv/process"
	"github.com/anycert/anycert/internal/testenv/world"
)

// serves waits until a server shows a certificate, with the whole chain.
func serves(t *testing.T, p *process.Process, addr string, want world.Stored) {
	t.Helper()
	err := p.WaitUntil(t.Context(), fmt.Sprintf("serves %x", want.Leaf.SerialNumber), func(ctx context.Context) error {
		chain, err := nginxserver.Handshake(ctx, addr, "www.example.com")
		switch {
		case err != nil:
			return err
		case !chain[0].Equal(want.Leaf):
			return fmt.Errorf("it serves %x", chain[0].SerialNumber)
		case len(chain) != 2:
			return fmt.Errorf("it serves %d certificates, want leaf and issuer", len(chain))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (m *machine) run(name, path string, args ...string) *process.Process {
	m.T.Helper()
	p, err := process.Start(process.Spec{Name: name, Path: path, Args: args, Dir: m.T.TempDir()})
	m.Must(err)
	m.T.Cleanup(p.Stop)
	return p
}

func (m *machine) program(name string) string {
	m.T.Helper()
	path, err := parts.Program(name)
	m.Must(err)
	return path
}

func (m *machine) addr() string {
	m.T.Helper()
	addr, err := process.FreeAddr()
	m.Must(err)
	return addr
}

func TestNginx(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	addr, dir := m.addr(), t.TempDir()
	config := m.File("nginx.conf", fmt.Sprintf(`
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
%[2]s}
`, dir, m.here(snippet(m.World, "nginx.conf"), "listen 443 ssl", addr)))
	nginx := m.program("nginx")
	p := m.run("nginx", nginx, "-p", dir, "-c", config)
	serves(t, p, addr, m.Stored("example"))
	m.reloadBy(nginx, "-p", dir, "-c", config, "-s", "reload")
	for range 2 {
		serves(t, p, addr, m.renew())
	}
}

func TestHAProxy(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	addr := m.addr()
	config := m.File("haproxy.cfg", `defaults
  timeout connect 5s
  timeout client 5s
  timeout server 5s
`+m.here(snippet(m.World, "haproxy.cfg"), "bind :443 ssl", addr)+`
backend site
  mode http
`)
	p := m.run("haproxy", m.program("haproxy"), "-W", "-f", config)
	serves(t, p, addr, m.Stored("example"))
	m.reloadBy(m.program("kill"), "-USR2", fmt.Sprint(p.PID()))
	for range 2 {
		serves(t, p, addr, m.renew())
	}
}

// The page's program serves a new certificate without being told, and never reads half
// of a pair, however often it looks while they change.
func TestApp(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	app := m.build()
	addr := m.addr()
	p := m.run("app", app, "serve", m.Path("files/example"), addr)
	serves(t, p, addr, m.Stored("example"))
	for range 2 {
		serves(t, p, addr, m.renew())
	}

	looks := exec.CommandContext(t.Context(), app, "look", m.Path("files/example"))
	looks.Stderr = os.Stderr
	end, err := looks.StdinPipe()
	m.Must(err)
	m.Must(looks.Start())
	for range 10 {
		m.renew()
	}
	m.Must(end.Close())
	if err := looks.Wait(); err != nil {
		t.Errorf("while the certificate changed: %v", err)
	}
}

// program is what stands around the page's certificate.go.
const program = `package main

import (
	"crypto/tls"
	"io"
	"log"
	"os"
	"time"
)

func main() {
	switch dir := os.Args[2]; os.Args[1] {
	case "serve":
		certificate := &Certificate{Dir: dir, Every: 100 * time.Millisecond}
		listener, err := tls.Listen("tcp", os.Args[3], &tls.Config{GetCertificate: certificate.Get})
		if err != nil {
			log.Fatal(err)
		}
		for {
			conn, err := listener.Accept()
			if err != nil {
				log.Fatal(err)
			}
			go func() {
				defer conn.Close()
				_ = conn.(*tls.Conn).Handshake()
			}()
		}
	case "look":
		ended := make(chan struct{})
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			close(ended)
		}()
		for n := 0; ; n++ {
			if _, err := load(dir); err != nil {
				log.Fatalf("after %d looks: %v", n, err)
			}
			select {
			case <-ended:
				if n < 1000 {
					log.Fatalf("it looked %d times only", n)
				}
				return
			default:
			}
		}
	}
}
`

func (m *machine) build() (binary string) {
	m.T.Helper()
	dir := m.T.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module app\n\ngo 1.25\n", "main.go": program, "certificate.go": snippet(m.World, "certificate.go"),
	} {
		m.Must(os.WriteFile(dir+"/"+name, []byte(text), 0o600))
	}
	build := exec.CommandContext(m.T.Context(), "go", "build", "-o", "app", ".")
	build.Dir = dir
	build.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0", "GOFLAGS=-trimpath")
	if text, err := build.CombinedOutput(); err != nil {
		m.T.Fatalf("the page's program does not compile: %v\n%s", err, text)
	}
	return dir + "/app"
}
