//go:build linux

package leaks

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"

	"github.com/anycert/anycert/internal/testenv/world"
)

// settings are what the configuration is made of, beside the world.
type settings struct {
	Issued []string // names of certificates that are ordered
	ByAPI  []string // those whose challenges are set by a DNS provider's API
	Sinks  bool     // all of them, else the files alone
	Wire   bool     // a server is looked at that shows a key in its certificate
	Broken bool     // a template of the file sink fails in its middle
}

const configuration = `version: 1
owner: leaks
store: {vault: {address: {{.VaultURL}}, ca_cert: {{.Dir}}/trust.pem, auth: {method: token, token: {file: {{.Dir}}/vault-token}}}}
issuers:
  - {{.Issuer "pebble"}}
  - name: pebble-by-api
    directory: {{.ACME.URL}}
    email: ops@example.com
    profile: default
    ca_bundle: {{.Dir}}/trust.pem
    dns:
      provider: httpreq
      settings:
        HTTPREQ_ENDPOINT: {{.APIURL}}
        HTTPREQ_USERNAME: anycert
        HTTPREQ_PASSWORD: {file: {{.Dir}}/dns-password}
      resolvers: ["{{.DNS.Addr}}"]
      propagation: resolvers
certificates:
  - {name: planted-ec, domains: [ec.example.com]{{if .Wire}}, verify: [{address: "{{.Shower}}", server_name: ec.example.com}]{{end}}}
  - {name: planted-rsa, domains: [rsa.example.com]}
{{- range .Issued}}
{{- $domain := "example.com"}}{{if ne . "example"}}{{$domain = printf "%s.example.com" .}}{{end}}
  - {name: {{.}}, domains: ["{{$domain}}", "*.{{$domain}}"], issuer: pebble}
{{- end}}
{{- range .ByAPI}}
  - {name: {{.}}, domains: ["{{.}}.example.com"], issuer: pebble-by-api}
{{- end}}
sinks:
{{- if .Sinks}}
  - name: prod
    type: kubernetes
    certificates: ["*"]
    config: {server: "{{.ClusterURL}}", ca: {{.Dir}}/trust.pem, token: {file: {{.Dir}}/cluster-token}, namespaces: [web], list: true}
  - name: edge
    type: fastly
    certificates: ["*"]
    config: {token: {env: ` + fastlyEnv + `}, configurations: [` + world.TLSConfiguration + `], endpoint: {{.FastlyURL}}}
{{- range $certificate, $hostname := .Hostnames}}
  - name: app-{{$certificate}}
    type: fly
    certificates: [{{$certificate}}]
    config: {app: ` + world.FlyApp + `, token: {file: {{$.Dir}}/fly-token}, hostnames: [{{$hostname}}], endpoint: {{$.FlyURL}}}
{{- end}}
{{- end}}
  - name: nginx
    type: file
    certificates: ["*"]
    config:
      dir: {{.Files}}
      reload: [{{.Dir}}/reload.sh]
      templates:
        - {file: {{.Dir}}/site.conf.tmpl, secrets: {password: {file: {{.Dir}}/site-password}}}
{{- if .Broken}}
        - {file: {{.Dir}}/middle.conf.tmpl, secrets: {secret/site/db#password: {file: {{.Dir}}/site-password}}}
{{- end}}
notify: [{name: oncall, webhook: {url: {file: {{.Dir}}/hook-url}, secret: {file: {{.Dir}}/hook-secret}}}]
reconcile: {schedule: "@every 5s", brake: {percent: 100}} # what is planted was made by nobody
http: {listen: "127.0.0.1:0", token: {file: {{.Dir}}/status-token}}
`

// configure writes a configuration and returns its path.
func (w *scene) configure(s settings) (path string) {
	w.T.Helper()
	w.runs++
	return w.Config(fmt.Sprintf("config-%d.yaml", w.runs), configuration, struct {
		*world.World
		settings
		VaultURL, ClusterURL, FastlyURL, FlyURL, APIURL, Shower string
		Hostnames                                               map[string]string
	}{w.World, s, w.vault.URL, w.cluster.URL, w.fastly.URL, w.fly.URL, w.api.URL, w.shower, hostnames})
}

// command prepares a run with every debug switch on. Without a configuration, the file of
// environments says where the store is.
func (w *scene) command(config string, args ...string) (cmd *exec.Cmd, environment []string) {
	w.runs++
	format := []string{"text", "json"}[w.runs%2]
	args = append([]string{"--log-level", "debug", "--log-format", format}, args...)
	if config != "" {
		args = append([]string{"--config", config}, args...)
	}
	environment = append(environmentOf(switches), "SSL_CERT_FILE="+w.Path("trust.pem"), "XDG_CONFIG_HOME="+w.Path("xdg"), fastlyEnv+"="+w.FastlyToken)
	return exec.CommandContext(w.T.Context(), w.Binary, args...), environment
}

// run runs anycert to its end, with one of the exit codes.
func (w *scene) run(config string, codes []int, args ...string) {
	w.T.Helper()
	cmd, environment := w.command(config, args...)
	p := w.start(fmt.Sprintf("anycert %s (run %d)", strings.Join(args, " "), w.runs), cmd, environment...)
	if code := w.wait(p); !slices.Contains(codes, code) {
		w.T.Errorf("anycert %v ended with exit code %d, want one of %v\n%s%s", args, code, codes, &p.stdout, &p.stderr)
	}
}
