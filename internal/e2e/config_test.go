package e2e

import (
	"maps"
	"slices"

	"github.com/anycert/anycert/internal/testenv/world"
)

// settings are what the configuration is made of, beside the world.
type settings struct {
	*world.World

	Auth    string // how to log in to Vault
	KeyType string
	Cluster string // the fields that reach it; empty: no such sink
	Labels  map[string]string
	Reload  []string
}

// configuration is what a person would write.
const configuration = `version: 1
owner: e2e
store: {{.Store .Auth}}
issuers: [{{.Issuer "pebble"}}]
certificates:
  - name: example
    description: the site, and everything below it
    domains: [example.com, "*.example.com"]
    issuer: pebble
    key_type: {{.KeyType}}
  - name: api
    domains: [api.example.com]
    issuer: pebble
    key_type: {{.KeyType}}
sinks:
{{- if .Cluster}}
  - name: prod
    type: kubernetes
    certificates: ["*"]
    config: { {{- .Cluster}}, namespaces: [web, api], labels: {{json .Labels}}}
{{- end}}
  - name: edge
    type: fastly
    certificates: [example, api]
    config: { {{- .AtFastly}}}
  - name: app
    type: fly
    certificates: [example]
    config: { {{- .AtFly "example-web"}}, hostnames: [example.com, "*.example.com"]}
  - name: app-api
    type: fly
    certificates: [api]
    config: { {{- .AtFly "example-api"}}, hostnames: [api.example.com]}
  - name: nginx
    type: file
    certificates: ["*"]
    config: {dir: {{.Files}}, reload: {{json .Reload}}}
reconcile: {schedule: "@every 5s"}
http: {listen: "127.0.0.1:0"}
`

// writeConfig writes config.yaml anew from the settings.
func (w *scene) writeConfig() { w.config = w.Config("config.yaml", configuration, w.settings) }

// domains of the certificates.
var domains = map[string][]string{
	"example": {"example.com", "*.example.com"},
	"api":     {"api.example.com"},
}

func place(certificate, sink, target string) world.Place {
	return world.Place{Certificate: certificate, Sink: sink, Target: target}
}

// places are all the targets that the configuration promises.
func (w *scene) places() []world.Place {
	var all []world.Place
	for _, certificate := range slices.Sorted(maps.Keys(domains)) {
		app := map[string]string{"example": "app", "api": "app-api"}[certificate]
		for _, domain := range domains[certificate] {
			all = append(all, place(certificate, "edge", world.TLSConfiguration+"/"+domain), place(certificate, app, domain))
		}
		if w.settings.Cluster != "" {
			all = append(all, place(certificate, "prod", "web/"+certificate+"-tls"), place(certificate, "prod", "api/"+certificate+"-tls"))
		}
		all = append(all, place(certificate, "nginx", w.Files+"/"+certificate))
	}
	return all
}
