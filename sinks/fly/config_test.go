package fly

import (
	"slices"
	"strings"
	"testing"

	"github.com/anycert/anycert"
	"github.com/google/go-cmp/cmp"
)

func TestCheck(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Config)
		want   []anycert.Problem // Text is a part of it
	}{
		"good":                     {func(c *Config) {}, nil},
		"default endpoint":         {func(c *Config) { c.Endpoint = "" }, nil},
		"endpoint ends in a slash": {func(c *Config) { c.Endpoint = "https://api.machines.dev/" }, nil},
		"plain http on loopback":   {func(c *Config) { c.Endpoint = "http://[::1]:4280" }, nil},
		"nothing": {func(c *Config) { *c = Config{} }, []anycert.Problem{
			{Field: "app", Text: "is missing"}, {Field: "token", Text: "is missing"}, {Field: "hostnames", Text: "is missing"}}},
		"every mistake at once": {func(c *Config) { c.App, c.Hostnames = "Example", []string{"Example.com"} }, []anycert.Problem{
			{Field: "app", Text: "lower-case"}, {Field: "hostnames[0]", Text: "lower case"}}},
		"hostname twice": {func(c *Config) { c.Hostnames = []string{"example.com", "*.example.com", "example.com"} }, []anycert.Problem{
			{Field: "hostnames[2]", Text: "listed twice"}}},
		"hostname with a path": {func(c *Config) { c.Hostnames = []string{"example.com/x"} }, []anycert.Problem{
			{Field: "hostnames[0]", Text: "not a domain"}}},
		"plain http":             {func(c *Config) { c.Endpoint = "http://api.machines.dev" }, []anycert.Problem{{Field: "endpoint", Text: "in the clear"}}},
		"plain http, internal":   {func(c *Config) { c.Endpoint = "http://_api.internal:4280" }, []anycert.Problem{{Field: "endpoint", Text: "in the clear"}}},
		"another scheme":         {func(c *Config) { c.Endpoint = "ftp://api.machines.dev" }, []anycert.Problem{{Field: "endpoint", Text: "not an https"}}},
		"endpoint with a path":   {func(c *Config) { c.Endpoint = "https://api.machines.dev/v1" }, []anycert.Problem{{Field: "endpoint", Text: "has a path"}}},
		"endpoint with a secret": {func(c *Config) { c.Endpoint = "https://me:secret@api.machines.dev" }, []anycert.Problem{{Field: "endpoint", Text: "write it as"}}},
		"no address":             {func(c *Config) { c.Endpoint = "api.machines.dev" }, []anycert.Problem{{Field: "endpoint", Text: "write it as"}}},
	} {
		t.Run(name, func(t *testing.T) {
			c := config("https://api.example.com", "example.com", "*.example.com")
			test.change(c)
			problems := c.Check()
			contains := cmp.Comparer(func(a, b string) bool { return strings.Contains(a, b) || strings.Contains(b, a) })
			if diff := cmp.Diff(test.want, problems, contains); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			for _, problem := range problems {
				if strings.Contains(problem.Text, "secret@") {
					t.Errorf("a problem shows a secret: %s", problem.Text)
				}
			}
			_, err := c.Open(environment("example-prod", &credential{}))
			if (err == nil) != (len(problems) == 0) {
				t.Errorf("Open: %v, with %d problems", err, len(problems))
			}
		})
	}
}

func TestTargets(t *testing.T) {
	c := config("", "example.com", "*.example.com", "www.example.com")
	sink := open(t, c, &credential{})
	targets, err := sink.Targets("example", []string{"example.com", "*.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	want := []anycert.Target{
		{Key: "fly://api.machines.dev/example-web/example.com", Label: "example.com", Certificate: "example"},
		{Key: "fly://api.machines.dev/example-web/*.example.com", Label: "*.example.com", Certificate: "example"},
		{Key: "fly://api.machines.dev/example-web/www.example.com", Label: "www.example.com", Certificate: "example"},
	}
	if diff := cmp.Diff(want, targets); diff != "" {
		t.Errorf("targets (-want +got):\n%s", diff)
	}
	for _, names := range [][]string{{"example.com"}, {"*.example.com"}, nil} {
		targets, err := sink.Targets("example", names)
		if err == nil {
			t.Errorf("names %q: targets %v without an error", names, targets)
			continue
		}
		for _, hostname := range anycert.Uncovered(names, c.Hostnames) {
			if !strings.Contains(err.Error(), hostname) {
				t.Errorf("names %q: the error does not name %s: %v", names, hostname, err)
			}
		}
	}
	c.Hostnames[0] = "example.net"
	if !slices.Contains(sink.hostnames, "example.com") {
		t.Error("a change of the configuration reached the open sink")
	}
}
