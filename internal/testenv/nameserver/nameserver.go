// Package nameserver runs BIND and Knot, the name servers from Debian, without
// privileges on a loopback port. Their zones take TXT records by dynamic
// updates (RFC 2136) from who has the TSIG key, as a careful operator would
// have it for ACME.
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
	Addr   string // 127.0.0.1:PORT, UDP and TCP
	Secret string // of the TSIG key, in base64

	process *process.Process
}

// Close ends the server.
func (s *Server) Close() { s.process.Stop() }

// kind is what differs between the two.
type kind struct {
	name, program string
	args          []string // after the config's path
	config        *template.Template
	folders       []string // that it wants to find
}

// StartBIND starts named with its files in dir.
func StartBIND(ctx context.Context, dir string, zones ...string) (*Server, error) {
	return start(ctx, dir, zones, kind{name: "BIND", program: "named", args: []string{"-g", "-n", "1"}, config: bind})
}

// StartKnot starts knotd with its files in dir.
func StartKnot(ctx context.Context, dir string, zones ...string) (*Server, error) {
	return start(ctx, dir, zones, kind{name: "Knot", program: "knotd", config: knot, folders: []string{"db"}})
}

func start(ctx context.Context, dir string, zones []string, k kind) (*Server, error) {
	program, err := parts.Program(k.program)
	if err != nil {
		return nil, err
	}
	addr, err := process.FreeAddr()
	if err != nil {
		return nil, err
	}
	secret := make([]byte, 32)
	rand.Read(secret) // never fails, see its documentation
	s := &Server{Addr: addr, Secret: base64.StdEncoding.EncodeToString(secret)}
	config, err := s.writeFiles(dir, zones, k)
	if err != nil {
		return nil, fmt.Errorf("writing the files of %s: %w", k.name, err)
	}
	s.process, err = process.Start(process.Spec{
		Name: k.program, Path: program, Args: append([]string{"-c", config}, k.args...), Dir: dir})
	if err != nil {
		return nil, err
	}
	for _, zone := range zones {
		if err := s.process.WaitUntil(ctx, "serves "+zone, s.serves(zone)); err != nil {
			s.Close()
			return nil, err
		}
	}
	return s, nil
}

func (s *Server) writeFiles(dir string, zones []string, k kind) (config string, err error) {
	host, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		return "", err
	}
	var failures error
	for _, folder := range k.folders {
		failures = errors.Join(failures, os.MkdirAll(filepath.Join(dir, folder), 0o700))
	}
	for _, zone := range zones {
		text := fmt.Sprintf(zoneFile, zone)
		failures = errors.Join(failures, os.WriteFile(filepath.Join(dir, zone+".zone"), []byte(text), 0o600))
	}
	var text strings.Builder
	err = k.config.Execute(&text, map[string]any{"Dir": dir, "Host": host, "Port": port, "Secret": s.Secret, "Zones": zones})
	config = filepath.Join(dir, k.program+".conf")
	return config, errors.Join(failures, err, os.WriteFile(config, []byte(text.String()), 0o600))
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

const zoneFile = `$ORIGIN %s.
$TTL 60
@  IN SOA ns hostmaster 1 60 60 3600 1
@  IN NS  ns
ns IN A   127.0.0.1
`

var bind = template.Must(template.New("named.conf").Parse(`
options {
  directory "{{.Dir}}";
  pid-file "{{.Dir}}/named.pid";
  session-keyfile "{{.Dir}}/session.key";
  listen-on port {{.Port}} { {{.Host}}; };
  listen-on-v6 { none; };
  recursion no;
  notify no;
  dnssec-validation no;
};
controls { };
key "acme." { algorithm hmac-sha256; secret "{{.Secret}}"; };
{{range .Zones}}
zone "{{.}}" {
  type primary;
  file "{{$.Dir}}/{{.}}.zone";
  update-policy { grant acme. zonesub TXT; };
};
{{end}}`))

var knot = template.Must(template.New("knotd.conf").Parse(`
server:
  rundir: "{{.Dir}}"
  listen: {{.Host}}@{{.Port}}
database:
  storage: "{{.Dir}}/db"
log:
  - target: stderr
    any: info
key:
  - id: acme.
    algorithm: hmac-sha256
    secret: {{.Secret}}
acl:
  - id: acme
    key: acme.
    action: update
    update-type: [TXT]
zone:
{{range .Zones}}  - domain: {{.}}
    storage: "{{$.Dir}}"
    file: "{{.}}.zone"
    acl: acme
{{end}}`))
