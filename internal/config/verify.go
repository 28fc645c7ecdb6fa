package config

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/config/strict"
	"github.com/anycert/anycert/internal/trusted"
	"github.com/anycert/anycert/reconcile"
)

// Verify is where the world is served a certificate, or false. There `anycert audit` and
// `anycert run` shake hands as any client does, and compare the whole chain that they are
// shown with the store's, its names and its validity. Nothing is sent, and the key is not
// used.
type Verify []Endpoint

// Endpoint is one place that the world is served from.
type Endpoint struct {
	// Address is HOST:PORT. Of a host that is a name each address is looked at, A and
	// AAAA.
	Address string `yaml:"address"`
	// ServerName is the name that is asked for (SNI). Default: the host of the address.
	ServerName string `yaml:"server_name"`
	// CABundle is a file of CAs in PEM, one of which the chain must lead to. Default:
	// those of this machine, where they know the CA.
	CABundle string `yaml:"ca_bundle"`
}

// UnmarshalYAML takes false or a list.
func (v *Verify) UnmarshalYAML(unmarshal func(any) error) error {
	var kind any
	if err := unmarshal(&kind); err != nil {
		return err
	}
	switch said := kind.(type) {
	case bool:
		if said {
			return errors.New("write false to look nowhere, or list where it is served: [{address: \"app.example.com:443\"}]")
		}
		*v = Verify{}
		return nil
	case []any:
		if len(said) == 0 {
			return errors.New("the list is empty: write false to look nowhere, or leave the field out")
		}
	}
	return unmarshal((*[]Endpoint)(v))
}

// off reports whether nobody is to look: it was said, and is empty.
func (v Verify) off() bool { return v != nil && len(v) == 0 }

// name is what is asked for.
func (e Endpoint) name() string {
	if e.ServerName != "" {
		return e.ServerName
	}
	host, _, _ := net.SplitHostPort(e.Address)
	return strings.ToLower(host)
}

func (e Endpoint) endpoint(roots map[string]*x509.CertPool) anycert.Endpoint {
	return anycert.Endpoint{Address: e.Address, ServerName: e.name(), Roots: roots[e.CABundle]}
}

// verify checks where something is served. names are those of the certificates that it
// can be.
func (c *checks) verify(path string, verify Verify, names []string, whose string) {
	for i, endpoint := range verify {
		at := fmt.Sprintf("%s[%d]", path, i)
		host, port, err := net.SplitHostPort(endpoint.Address)
		number, portErr := strconv.ParseUint(port, 10, 16)
		if err != nil || portErr != nil || number == 0 || host == "" {
			c.add(at+".address", "this is no address to look at: write HOST:PORT, as in app.example.com:443 or [2001:db8::1]:443")
			continue
		}
		_, notIP := netip.ParseAddr(host)
		name, field := endpoint.name(), at+".server_name"
		if endpoint.ServerName == "" {
			field = at + ".address"
		}
		switch {
		case endpoint.ServerName == "" && notIP == nil:
			c.add(at+".server_name", "it is missing: the host is an address, so say which name clients ask for there")
		case strings.HasPrefix(name, "*."):
			c.add(field, "nobody can ask for a wildcard: write a name that it stands for")
		case anycert.CheckDomain(name) != nil:
			c.add(field, "%v", anycert.CheckDomain(name))
		case len(names) > 0 && !anycert.Covers(names, name):
			c.add(field, "%s is no name of %s: correct it, or say with server_name which name clients ask for there", name, whose)
		}
		if slices.Contains(verify[:i], endpoint) {
			c.add(at, "it is listed twice")
		}
	}
}

// endpointsOf makes the function that tells where the world is served what a target of a
// sink holds; nil when nobody is to look there. The endpoints of a sink and those of a
// certificate count alike; each belongs to the targets that serve its name. Where a sink
// knows what the world asks its targets for, and nothing is listed for one, it is that
// name at port 443. What a sink lists for a name belongs to the certificate that has that
// very name, and else to those with a wildcard for it. It gives nil where nobody is to
// look, and an empty list where nobody can.
func (c *Config) endpointsOf(sink Sink, opened anycert.Sink, roots map[string]*x509.CertPool) func(anycert.Certificate, anycert.Target) []anycert.Endpoint {
	listed := map[string][]Endpoint{} // by certificate
	off := map[string]bool{}
	named := map[string]bool{}
	for _, certificate := range sink.of(c.declared()) {
		for _, domain := range certificate.Domains {
			named[domain] = true
		}
	}
	for _, certificate := range c.Certificates {
		off[certificate.Name] = certificate.Verify.off()
		for _, endpoint := range sink.Verify {
			if !named[endpoint.name()] || slices.Contains(certificate.Domains, endpoint.name()) {
				listed[certificate.Name] = append(listed[certificate.Name], endpoint)
			}
		}
		if !sink.Canary { // the others are behind that as well, and follow the canary
			listed[certificate.Name] = append(listed[certificate.Name], certificate.Verify...)
		}
	}
	fronted, derives := opened.(anycert.Fronted)
	some := derives || slices.ContainsFunc(c.Certificates, func(c Certificate) bool { return len(listed[c.Name]) > 0 })
	if sink.Verify.off() || !some {
		return nil
	}
	return func(certificate anycert.Certificate, target anycert.Target) []anycert.Endpoint {
		if off[certificate.Name] {
			return nil
		}
		front := anycert.Front{Names: certificate.Domains}
		if derives {
			front = fronted.Front(target)
		}
		endpoints := []anycert.Endpoint{}
		for _, e := range listed[certificate.Name] {
			one := e.endpoint(roots)
			if anycert.Covers(front.Names, one.ServerName) && !slices.Contains(endpoints, one) {
				endpoints = append(endpoints, one)
			}
		}
		listed := len(endpoints) > 0
		for _, name := range front.Names {
			if front.Public && !listed && !strings.HasPrefix(name, "*.") {
				endpoints = append(endpoints, anycert.Endpoint{Address: net.JoinHostPort(name, "443"), ServerName: name})
			}
		}
		return endpoints
	}
}

// openRoots reads the ca_bundles of all endpoints, each once.
func (c *Config) openRoots() (roots map[string]*x509.CertPool, problems []strict.Problem) {
	roots = map[string]*x509.CertPool{}
	read := func(path string, verify Verify) {
		for i, endpoint := range verify {
			if _, known := roots[endpoint.CABundle]; known || endpoint.CABundle == "" {
				continue
			}
			field := fmt.Sprintf("%s.verify[%d].ca_bundle", path, i)
			text, err := trusted.Read(endpoint.CABundle, maxRoots)
			pool := x509.NewCertPool()
			switch {
			case err != nil:
				problems = append(problems, c.root.Problem(field, err.Error()))
			case !pool.AppendCertsFromPEM(text):
				problems = append(problems, c.root.Problem(field, endpoint.CABundle+" holds no certificate in PEM"))
			}
			roots[endpoint.CABundle] = pool
		}
	}
	for i, sink := range c.Sinks {
		read(fmt.Sprintf("sinks[%d]", i), sink.Verify)
	}
	for i, certificate := range c.Certificates {
		read(fmt.Sprintf("certificates[%d]", i), certificate.Verify)
	}
	return roots, problems
}

// fronts gives each agent what tells where the world meets its targets.
func (c *Config) fronts(agents []reconcile.Agent) []strict.Problem {
	roots, problems := c.openRoots()
	for i := range agents {
		at := slices.IndexFunc(c.Sinks, func(s Sink) bool { return s.Name == agents[i].Name })
		agents[i].Endpoints = c.endpointsOf(c.Sinks[at], agents[i].Sink, roots)
	}
	if len(problems) == 0 && len(agents) == len(c.Sinks) {
		problems = c.idle(agents, roots)
	}
	return problems
}
