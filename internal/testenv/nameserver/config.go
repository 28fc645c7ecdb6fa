package nameserver

import (
	"cmp"
	"fmt"
	"net"
	"strings"
	"text/template"
)

// File is the name of the zone's file.
func (z Zone) File() string { return "zone-" + strings.Trim(z.Name, ".") }

// text is the zone's file.
func (z Zone) text() string {
	if z.Broken {
		return "this is no zone file\n"
	}
	records := z.Records
	if len(records) == 0 {
		records = []string{"@ IN NS ns", "ns IN A 127.0.0.1"}
	}
	origin := strings.TrimSuffix(z.Name, ".") + "."
	head := fmt.Sprintf("$ORIGIN %s\n$TTL 60\n", origin)
	if !strings.Contains(strings.Join(records, "\n"), " SOA ") { // a signed zone has its own
		head += fmt.Sprintf("@ IN SOA ns hostmaster %d 60 60 3600 1\n", cmp.Or(z.Serial, 1))
	}
	return head + strings.Join(records, "\n") + "\n"
}

// host and port are those of an address that we made.
func host(addr string) string { host, _, _ := net.SplitHostPort(addr); return host }
func port(addr string) string { _, port, _ := net.SplitHostPort(addr); return port }

var words = template.FuncMap{"host": host, "port": port}

var bind = template.Must(template.New("named.conf").Funcs(words).Parse(`
options {
  directory "{{.Dir}}";
  pid-file "{{.Dir}}/named.pid";
  session-keyfile "{{.Dir}}/session.key";
  port {{.Port}};
  listen-on port {{port .Listen}} { {{host .Listen}}; };
  listen-on-v6 { none; };
  allow-transfer { any; };
  allow-notify { 127.0.0.0/8; };
  notify explicit;
  notify-delay 0;
  empty-zones-enable no;
{{if .Root}}
  recursion yes;
  qname-minimization off;
  max-ncache-ttl 1;
{{else}}
  recursion no;
{{end}}
  dnssec-validation {{if .Anchors}}yes{{else}}no{{end}};
};
controls { };
key "acme." { algorithm hmac-sha256; secret "{{.Secret}}"; };
{{if .Anchors}}trust-anchors { {{range .Anchors}}{{.}}; {{end}} };{{end}}
{{if .Root}}zone "." { type hint; file "{{.Dir}}/hints"; };{{end}}
{{range .Zones}}
zone "{{.Name}}" {
  file "{{$.Dir}}/{{.File}}";
{{if .From}}
  type secondary;
  primaries { {{host .From}} port {{port .From}}; };
{{else}}
  type primary;
  {{if not .Closed}}update-policy { grant acme. zonesub TXT; };{{end}}
  also-notify { {{range .To}}{{host .}} port {{port .}}; {{end}} };
{{end}}
};
{{end}}`))

var knot = template.Must(template.New("knotd.conf").Funcs(words).Parse(`
server:
  rundir: "{{.Dir}}"
  listen: {{host .Listen}}@{{port .Listen}}
database:
  storage: "{{.Dir}}/db"
log:
  - target: stderr
    any: info
key:
  - id: acme.
    algorithm: hmac-sha256
    secret: {{.Secret}}
remote:
{{range .Zones}}{{range .To}}  - id: "{{.}}"
    address: {{host .}}@{{port .}}
{{end}}{{if .From}}  - id: "{{.From}}"
    address: {{host .From}}@{{port .From}}
{{end}}{{end}}
acl:
  - id: acme
    key: acme.
    action: update
    update-type: [TXT]
  - id: others
    address: 127.0.0.0/8
    action: [transfer, notify]
zone:
{{range .Zones}}  - domain: "{{.Name}}"
    storage: "{{$.Dir}}"
    file: "{{.File}}"
    acl: [others{{if not .Closed}}, acme{{end}}]
{{if .From}}    master: "{{.From}}"
{{end}}{{if .To}}    notify: [{{range $i, $to := .To}}{{if $i}}, {{end}}"{{$to}}"{{end}}]
{{end}}{{end}}`))
