package fly

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/anycert/anycert"
)

// Type is the name of this kind of sink in the configuration.
const Type = "fly"

// DefaultEndpoint is Fly.io's Machines API as the internet sees it.
const DefaultEndpoint = "https://api.machines.dev"

// Config is the configuration of a fly sink: one app, and the hostnames of it that
// are to serve the certificate.
type Config struct {
	// App is the name of the Fly.io app.
	App string `yaml:"app"`
	// Token is where the app's deploy token is kept: fly tokens create deploy --app APP.
	Token anycert.Reference `yaml:"token"`
	// Hostnames are those of the app that serve the certificate, "*.example.com"
	// included. Each is imported by itself; the certificate must cover it.
	// Declaring one is the consent: what was imported there before is replaced.
	Hostnames []string `yaml:"hostnames"`
	// Endpoint is the API's address, https://api.machines.dev when left out. Plain
	// http is taken on loopback alone.
	Endpoint string `yaml:"endpoint"`

	// Interval is the time between two requests of one kind; zero is the second
	// that Fly.io asks for. It is for tests against a stand-in.
	Interval time.Duration `yaml:"-"`
}

// Check lists every mistake. It opens and asks nothing.
func (c *Config) Check() []anycert.Problem {
	var problems []anycert.Problem
	add := func(field, text string) { problems = append(problems, anycert.Problem{Field: field, Text: text}) }

	switch err := anycert.CheckName(c.App); {
	case c.App == "":
		add("app", "is missing: the name of the Fly.io app, as `fly apps list` shows it")
	case err != nil:
		add("app", err.Error())
	}
	if c.Token.IsZero() {
		add("token", "is missing: refer to a deploy token of the app ({env: NAME}, {file: PATH} or {vault: MOUNT/PATH#FIELD})")
	}
	if len(c.Hostnames) == 0 {
		add("hostnames", "is missing: list the hostnames of the app that serve the certificate")
	}
	for i, hostname := range c.Hostnames {
		field := fmt.Sprintf("hostnames[%d]", i)
		if err := anycert.CheckDomain(hostname); err != nil {
			add(field, err.Error())
		} else if slices.Contains(c.Hostnames[:i], hostname) {
			add(field, fmt.Sprintf("%s is listed twice", hostname))
		}
	}
	if _, err := c.endpoint(); err != nil {
		add("endpoint", err.Error())
	}
	return problems
}

// Open makes the sink. It asks nobody over the network.
func (c *Config) Open(env anycert.SinkEnv) (anycert.Sink, error) {
	return c.open(env, newTransport())
}

// open makes the sink on top of base.
func (c *Config) open(env anycert.SinkEnv, base http.RoundTripper) (*Sink, error) {
	if problems := c.Check(); len(problems) > 0 {
		return nil, fmt.Errorf("sink %s: %s: %s", env.Name, problems[0].Field, problems[0].Text)
	}
	endpoint, err := c.endpoint()
	if err != nil {
		return nil, fmt.Errorf("sink %s: endpoint: %w", env.Name, err)
	}
	sink := &Sink{
		app:       c.App,
		host:      endpoint.Host,
		hostnames: slices.Clone(c.Hostnames),
		token:     env.Credential(c.Token),
		reference: c.Token,
	}
	sink.api, err = newAPI(env.UserAgent, &transport{
		base:     base,
		endpoint: endpoint,
		token:    sink.token,
		limits:   newLimits(c.Interval),
	})
	if err != nil {
		return nil, fmt.Errorf("sink %s: %w", env.Name, err)
	}
	return sink, nil
}

// endpoint is the API's address. A token and a key must not travel in the clear.
func (c *Config) endpoint() (*url.URL, error) {
	if c.Endpoint == "" {
		return url.Parse(DefaultEndpoint)
	}
	endpoint, err := url.Parse(c.Endpoint)
	switch {
	case err != nil || endpoint.Host == "" || endpoint.User != nil || endpoint.RawQuery != "" || endpoint.Fragment != "":
		return nil, errors.New("is not an address: write it as https://HOST or https://HOST:PORT")
	case endpoint.Path != "" && endpoint.Path != "/":
		return nil, errors.New("has a path: leave it out, the API's paths begin with /v1")
	case endpoint.Scheme == "https", endpoint.Scheme == "http" && loopback(endpoint.Hostname()):
		return endpoint, nil
	case endpoint.Scheme == "http":
		return nil, errors.New("is plain http, which would send the token and the key in the clear: use https")
	}
	return nil, errors.New("is not an https address")
}

func loopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}
