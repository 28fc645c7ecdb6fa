// Package dns01 proves control of domains by DNS records (RFC 8555, section 8.4),
// with lego's providers. It routes each domain to the provider of its zone,
// follows CNAMEs, keeps the records of different orders at one name apart, and
// binds all of it to a context, which lego does not.
package dns01

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/anycert/anycert"
)

// Config says where _acme-challenge records are written. Mostly that is one
// provider:
//
//	dns:
//	  provider: cloudflare
//	  settings: {CF_DNS_API_TOKEN: {env: CF_DNS_API_TOKEN}}
//
// Certificates whose domains lie at several providers need a list; the longest
// zone that holds the domain wins, and an entry without zones takes the rest:
//
//	dns:
//	  - zones: [example.org]
//	    provider: route53
//	    settings: {AWS_REGION: eu-central-1}
//	  - provider: cloudflare
//	    settings: {CF_DNS_API_TOKEN: {env: CF_DNS_API_TOKEN}}
//
// Where _acme-challenge is a CNAME, the place it leads to is routed instead.
type Config []Provider

// Provider is one place where records are written.
type Provider struct {
	// Zones are the zones that are written here, with all that is below them.
	// Left out: every zone that no other entry names.
	Zones []string `yaml:"zones"`
	// Provider is lego's name of the provider.
	Provider string `yaml:"provider"`
	// Settings are the provider's settings, by the names that lego documents. A
	// secret is a reference; what is no secret may be written plainly.
	Settings Settings `yaml:"settings"`
	// Resolvers are the DNS servers that are asked, as host or host:port.
	// Default: those of /etc/resolv.conf.
	Resolvers []string `yaml:"resolvers"`
	// Propagation is the issuer's, for this provider alone. Two older words are known
	// here as well: "resolvers" for "recursive", and "none" for no wait at all.
	Propagation Propagation `yaml:"propagation"`
}

// Settings are a provider's settings by name.
type Settings map[string]Setting

// Setting is the value of one: written plainly, or a reference to a secret.
type Setting struct {
	Plain     string
	Reference anycert.Reference
}

// UnmarshalYAML takes one provider or a list of them.
func (c *Config) UnmarshalYAML(unmarshal func(any) error) error {
	var kind any
	if err := unmarshal(&kind); err != nil {
		return err
	}
	if _, list := kind.([]any); list {
		return unmarshal((*[]Provider)(c))
	}
	*c = make(Config, 1)
	return unmarshal(&(*c)[0])
}

// UnmarshalYAML takes a scalar or a reference.
func (s *Setting) UnmarshalYAML(unmarshal func(any) error) error {
	var kind any
	if err := unmarshal(&kind); err != nil {
		return err
	}
	if _, mapping := kind.(map[string]any); mapping {
		return unmarshal(&s.Reference)
	}
	return unmarshal(&s.Plain)
}

// Check lists every mistake. Fields of a single provider are named without an
// index, as they are written: "settings.CF_DNS_API_TOKEN", else
// "[1].settings.CF_DNS_API_TOKEN".
func (c Config) Check() []anycert.Problem {
	if len(c) == 0 {
		return []anycert.Problem{{Text: "no DNS provider is named: certificates are obtained by DNS-01 alone, so write dns: {provider: …, settings: {…}}"}}
	}
	var problems []anycert.Problem
	claimed := map[string]int{}
	for i, provider := range c {
		prefix := ""
		if len(c) > 1 {
			prefix = fmt.Sprintf("[%d].", i)
		}
		for _, problem := range slices.Concat(provider.check(), provider.checkZones(i, claimed)) {
			problem.Field = prefix + problem.Field
			problems = append(problems, problem)
		}
	}
	return problems
}

// checkZones notes the zones in claimed, where "" stands for all others.
func (p Provider) checkZones(index int, claimed map[string]int) (problems []anycert.Problem) {
	claim := func(field, zone, what string) {
		if first, taken := claimed[zone]; taken && first != index {
			problems = append(problems, anycert.Problem{Field: field, Text: what + " in another entry already: one zone is written by one provider"})
		}
		claimed[zone] = index
	}
	if len(p.Zones) == 0 {
		claim("provider", "", "the domains of no zone in particular are taken")
	}
	for i, zone := range p.Zones {
		field := fmt.Sprintf("zones[%d]", i)
		if err := anycert.CheckDomain("a." + zone); err != nil {
			problems = append(problems, anycert.Problem{Field: field, Text: fmt.Sprintf("%q is no zone: write it as example.com", zone)})
			continue
		}
		claim(field, zone, "the zone "+zone+" is named")
	}
	return problems
}

func (p Provider) check() (problems []anycert.Problem) {
	add := func(field, format string, args ...any) {
		problems = append(problems, anycert.Problem{Field: field, Text: fmt.Sprintf(format, args...)})
	}
	if err := p.Propagation.Check(); err != nil {
		add("propagation", "%v", err)
	}
	if p.Propagation == ByResolvers && len(p.Resolvers) == 0 {
		add("propagation", "resolvers are to be asked, and none is named: add resolvers")
	}
	for i, resolver := range p.Resolvers {
		if _, err := withPort(resolver); err != nil {
			add(fmt.Sprintf("resolvers[%d]", i), "%v", err)
		}
	}
	spec, ok := find(p.Provider)
	switch {
	case p.Provider == "":
		add("provider", "the DNS provider is missing: it is one of %s", strings.Join(Names(), ", "))
	case !ok:
		add("provider", "the DNS provider %q is not in this build%s: there are %s", p.Provider, elsewhere, strings.Join(Names(), ", "))
	default:
		problems = append(problems, spec.check(p.Settings)...)
	}
	return problems
}

// withPort completes the address of a DNS server.
func withPort(server string) (string, error) {
	if ip := net.ParseIP(strings.Trim(server, "[]")); ip != nil {
		return net.JoinHostPort(ip.String(), "53"), nil
	}
	host, port, err := net.SplitHostPort(server)
	if err != nil {
		host, port = server, "53"
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil || host == "" || net.ParseIP(host) == nil && strings.ContainsAny(host, ":/ []") {
		return "", fmt.Errorf("%q is no address of a DNS server: write it as 192.0.2.53 or 192.0.2.53:5353", server)
	}
	return net.JoinHostPort(host, port), nil
}
