package fastly_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/sinks/fastly"
	"github.com/anycert/anycert/sinks/sinktest"
)

func TestCheck(t *testing.T) {
	good := func() *fastly.Config {
		return &fastly.Config{Token: anycert.Reference{Env: "FASTLY_API_TOKEN"}, Configurations: []string{configuration, second}}
	}
	tests := []struct {
		name   string
		change func(*fastly.Config)
		want   []string // fields
	}{
		{"good", func(*fastly.Config) {}, nil},
		{"all fields", func(c *fastly.Config) {
			c.Domains, c.Adopt = []string{domain, "*.example.com"}, []string{second + "/*.example.com"}
			c.Endpoint = "https://fastly.example.com/"
		}, nil},
		{"loopback", func(c *fastly.Config) { c.Endpoint = "http://127.0.0.1:8080" }, nil},
		{"empty", func(c *fastly.Config) { *c = fastly.Config{} }, []string{"token", "configurations"}},
		{"configurations", func(c *fastly.Config) { c.Configurations = []string{"a/b", "", "c", "c"} },
			[]string{"configurations[0]", "configurations[1]", "configurations[3]"}},
		{"domains", func(c *fastly.Config) { c.Domains = []string{"EXAMPLE.com", domain, domain} }, []string{"domains[0]", "domains[2]"}},
		{"adopt", func(c *fastly.Config) {
			c.Domains = []string{domain}
			c.Adopt = []string{domain, "absent/" + domain, second + "/shop.example.com", second + "/" + domain}
		}, []string{"adopt[0]", "adopt[1]", "adopt[2]"}},
		{"plain http", func(c *fastly.Config) { c.Endpoint = "http://fastly.example.com" }, []string{"endpoint"}},
		{"user in the URL", func(c *fastly.Config) { c.Endpoint = "https://me:secret@fastly.example.com" }, []string{"endpoint"}},
		{"path in the URL", func(c *fastly.Config) { c.Endpoint = "https://fastly.example.com/tls" }, []string{"endpoint"}},
		{"no URL", func(c *fastly.Config) { c.Endpoint = "https://secret%zz" }, []string{"endpoint"}},
		{"no host", func(c *fastly.Config) { c.Endpoint = "api.fastly.com" }, []string{"endpoint"}},
		{"other scheme", func(c *fastly.Config) { c.Endpoint = "ftp://api.fastly.com" }, []string{"endpoint"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			config := good()
			test.change(config)
			var fields []string
			for _, problem := range config.Check() {
				fields = append(fields, problem.Field)
				if problem.Text == "" || strings.Contains(problem.Text, "secret") {
					t.Errorf("%s: %q", problem.Field, problem.Text)
				}
			}
			if diff := cmp.Diff(test.want, fields); diff != "" {
				t.Errorf("fields with problems (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTargets(t *testing.T) {
	server := start(t)
	sink := open(t, server, sinktest.Owner, func(c *fastly.Config) { c.Domains = []string{domain, "example.org"} })
	got, err := sink.Targets("example", []string{domain, "*.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	var want []anycert.Target
	for _, id := range []string{configuration, second} {
		want = append(want, anycert.Target{
			Key:   fmt.Sprintf("fastly://%s/%s/%s", strings.TrimPrefix(server.URL, "http://"), id, domain),
			Label: id + "/" + domain, Certificate: "example",
		})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := sink.Targets("shop", []string{"shop.example.com"}); err == nil || !strings.Contains(err.Error(), "shop") {
		t.Errorf("a certificate with none of the domains: %v, want an error", err)
	}
}
