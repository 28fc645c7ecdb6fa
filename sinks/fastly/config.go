package fastly

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/fastly/go-fastly/v9/fastly"

	"github.com/anycert/anycert"
)

// Config is the configuration of a sink of type fastly.
type Config struct {
	// Token is the API token. It needs the scope "global", and a user who may
	// manage TLS.
	Token anycert.Reference `yaml:"token"`
	// Configurations are the ids of the TLS configurations in which the domains
	// are activated.
	Configurations []string `yaml:"configurations"`
	// Domains are the names to activate. Default: all names of each certificate.
	Domains []string `yaml:"domains"`
	// Adopt names activations that other people's certificates hold and that are
	// to be taken over, each as CONFIGURATION/DOMAIN.
	Adopt []string `yaml:"adopt"`
	// Endpoint is the address of the API. Default: https://api.fastly.com.
	Endpoint string `yaml:"endpoint"`
}

// An id stands in paths and keys, so nothing else than letters and digits is let in.
var configurationID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// Check lists every mistake.
func (c *Config) Check() []anycert.Problem {
	var problems []anycert.Problem
	report := func(field, format string, args ...any) {
		problems = append(problems, anycert.Problem{Field: field, Text: fmt.Sprintf(format, args...)})
	}
	if c.Token.IsZero() {
		report("token", "no token: write {env: NAME}, {file: PATH} or {vault: MOUNT/PATH#FIELD}")
	}
	if len(c.Configurations) == 0 {
		report("configurations", "no TLS configuration: list their ids (GET /tls/configurations shows them)")
	}
	for i, id := range c.Configurations {
		field := fmt.Sprintf("configurations[%d]", i)
		if !configurationID.MatchString(id) {
			report(field, "%q is not the id of a TLS configuration: it has letters and digits only", id)
		}
		if slices.Contains(c.Configurations[:i], id) {
			report(field, "%q is listed twice", id)
		}
	}
	for i, domain := range c.Domains {
		field := fmt.Sprintf("domains[%d]", i)
		if err := anycert.CheckDomain(domain); err != nil {
			report(field, "%v", err)
		}
		if slices.Contains(c.Domains[:i], domain) {
			report(field, "%q is listed twice", domain)
		}
	}
	for i, place := range c.Adopt {
		if err := c.checkAdopt(place); err != nil {
			report(fmt.Sprintf("adopt[%d]", i), "%v", err)
		}
	}
	if _, err := c.endpoint(); err != nil {
		report("endpoint", "%v", err)
	}
	return problems
}

func (c *Config) checkAdopt(text string) error {
	place, ok := parsePlace(text)
	switch {
	case !ok:
		return fmt.Errorf("%q is no activation: write CONFIGURATION/DOMAIN", text)
	case !slices.Contains(c.Configurations, place.configuration):
		return fmt.Errorf("%q is in none of the configurations of this sink", text)
	case len(c.Domains) > 0 && !slices.Contains(c.Domains, place.domain):
		return fmt.Errorf("%q is none of the domains of this sink", text)
	}
	return anycert.CheckDomain(place.domain)
}

// endpoint is the address of the API, checked.
func (c *Config) endpoint() (*url.URL, error) {
	text := c.Endpoint
	if text == "" {
		text = fastly.DefaultEndpoint
	}
	address, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, errors.New("it is not a URL") // the error of url.Parse repeats it, with what a person put there
	case address.User != nil:
		return nil, errors.New("a URL with a user or password is not allowed: the token has a field of its own")
	case address.Host == "" || strings.Trim(address.Path, "/") != "" || address.RawQuery != "" || address.Fragment != "":
		return nil, errors.New("write scheme and host alone, as in https://api.fastly.com")
	case address.Scheme == "http" && !isLoopback(address.Hostname()):
		return nil, errors.New("plain http would show keys and token to the network: use https")
	case address.Scheme != "http" && address.Scheme != "https":
		return nil, fmt.Errorf("the scheme %q is not supported: use https", address.Scheme)
	}
	return address, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Open makes the sink.
func (c *Config) Open(env anycert.SinkEnv) (anycert.Sink, error) {
	endpoint, err := c.endpoint()
	if err != nil {
		return nil, fmt.Errorf("endpoint: %w", err)
	}
	api, err := newAPI(endpoint, env.Credential(c.Token), c.Token.String(), env.UserAgent)
	if err != nil {
		return nil, err
	}
	return &Sink{
		api:            api,
		owner:          env.Owner,
		host:           endpoint.Host,
		configurations: slices.Clone(c.Configurations),
		domains:        slices.Clone(c.Domains),
		adopt:          slices.Clone(c.Adopt),
	}, nil
}
