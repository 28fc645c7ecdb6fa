package config_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Where each target is looked at: what is listed for its name, or, at the API of Fastly
// or Fly.io, the name itself.
func TestWhereTheWorldIsServed(t *testing.T) {
	graph, err := load("testdata/good/verify.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, agent := range graph.Agents {
		for _, certificate := range agent.Certificates {
			targets, err := agent.Sink.Targets(certificate.Name, certificate.Domains)
			if err != nil {
				t.Fatal(err)
			}
			for _, target := range targets {
				if agent.Endpoints == nil {
					continue
				}
				var endpoints []string
				for _, endpoint := range agent.Endpoints(certificate, target) {
					endpoints = append(endpoints, endpoint.String())
				}
				got[agent.Name+" "+target.Label] = strings.Join(endpoints, " ")
			}
		}
	}
	want := map[string]string{
		"edge abc/example.com":           "t.sni.example.net:443 (example.com)", // instead of the name itself
		"edge abc/*.example.com":         "app.example.com:443",                 // the name that was given
		"edge abc/quiet.example.com":     "",                                    // switched off
		"app www.example.com":            "www.example.com:443",
		"app *.example.com":              "app.example.com:443",
		"nginx /etc/ssl/anycert/example": "192.0.2.7:8443 (www.example.com) app.example.com:443",
		"nginx /etc/ssl/anycert/quiet":   "",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s\n%v", diff, slices.Sorted(maps.Keys(got)))
	}
}
