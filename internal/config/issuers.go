package config

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/anycert/anycert/internal/config/strict"
	"github.com/anycert/anycert/issuer"
	"github.com/anycert/anycert/sinks/kubernetes"
)

// The types of issuers.
const (
	typeACME       = "acme"
	typeKubernetes = "kubernetes"
)

// Issuer is one issuer. One of type acme orders certificates at a CA, and takes all
// fields but config. Here are two with nearly all that can be said, and a certificate
// for which the second is asked while the CA of the first is down:
//
//	issuers:
//	  - name: letsencrypt
//	    directory: letsencrypt
//	    staging: letsencrypt-staging
//	    profile: tlsserver
//	    limits: {like: letsencrypt, orders: 1000 in 3h}
//	    propagation: recursive
//	    dns: {provider: cloudflare, settings: {CF_DNS_API_TOKEN: {file: /run/secrets/cloudflare}}}
//	  - name: google
//	    directory: https://dv.acme-v02.api.pki.goog/directory
//	    eab: {kid: 0123456789abcdef, hmac: {file: /run/secrets/google}}
//	    propagation: {wait: 90s}
//	    dns: {provider: cloudflare, settings: {CF_DNS_API_TOKEN: {file: /run/secrets/cloudflare}}}
//	certificates:
//	  - {name: example, domains: [example.com], issuer: [letsencrypt, google]}
//
// One of type kubernetes orders nothing: it looks in each pass at Secrets of a cluster,
// where cert-manager, KCert or another tool renews certificates, and takes what is newer
// there into the store. It has a name and a config, and none of the fields between:
//
//	issuers:
//	  - name: old-cluster
//	    type: kubernetes
//	    config: {context: old, secret: "web/{{ .Name }}-tls"}
//
// Newer is a certificate whose validity begins later than that of the one in the store.
// Once the one in the store has a tenth of its lifetime left, so is any other that has
// more than that of its own left, or ends later. The same one with another chain is not.
// Whoever configures an issuer of type acme agrees to the CA's terms of service.
type Issuer struct {
	// Type is "acme" or "kubernetes". Default: acme.
	Type string `yaml:"type"`

	ACME issuer.Config `yaml:",inline"`

	// Config is for the type kubernetes: see its own table.
	Config strict.Node `yaml:"config"`

	source *kubernetes.SourceConfig // what Config holds; nil unless the type is kubernetes
}

// Name is what certificates call it.
func (i Issuer) Name() string { return i.ACME.Name }

// Orders reports whether it makes orders at a CA.
func (i Issuer) Orders() bool { return i.Type == "" || i.Type == typeACME }

// decode makes the configuration that the type has.
func (i *Issuer) decode(decoder *strict.Decoder) {
	if i.Type == typeKubernetes {
		i.source = new(kubernetes.SourceConfig)
		decoder.Decode(i.Config, i.source)
	}
}

// IssuerNames are the issuers of one certificate, in the order in which they are asked.
type IssuerNames []string

// UnmarshalYAML takes one name or a list of them.
func (n *IssuerNames) UnmarshalYAML(unmarshal func(any) error) error {
	var kind any
	if err := unmarshal(&kind); err != nil {
		return err
	}
	if _, list := kind.([]any); list {
		return unmarshal((*[]string)(n))
	}
	*n = make(IssuerNames, 1)
	return unmarshal(&(*n)[0])
}

func (n IssuerNames) first() string {
	if len(n) == 0 {
		return ""
	}
	return n[0]
}

func (n IssuerNames) others() []string {
	if len(n) < 2 {
		return nil
	}
	return n[1:]
}

// issuersOf checks the issuers that a certificate names.
func (c *checks) issuersOf(path string, names IssuerNames) {
	for i, name := range names {
		at := path
		if len(names) > 1 {
			at = fmt.Sprintf("%s[%d]", path, i)
		}
		switch {
		case name == "" && len(names) == 1: // as if it was left out
		case !c.issuerNames.has(name):
			c.add(at, "no issuer has this name: declare it under issuers, or leave it out for a certificate that someone else keeps")
		case slices.Contains(names[:i], name):
			c.add(at, "this issuer is named twice: it is asked once")
		case len(names) > 1 && !c.orders(name):
			c.add(at, "it is of type kubernetes and makes no orders: in a list of issuers each is of type acme")
		}
	}
}

// orders reports whether the issuer of a name makes orders at a CA.
func (c *checks) orders(name string) bool {
	return slices.ContainsFunc(c.Issuers, func(i Issuer) bool { return i.Name() == name && i.Orders() })
}

func (c *checks) issuers() {
	c.issuerNames = c.names("issuer")
	for i, declared := range c.Issuers {
		path := fmt.Sprintf("issuers[%d]", i)
		c.issuerNames.claim(path, declared.Name())
		switch {
		case declared.source != nil:
			c.ofACMEAlone(path)
			c.part(path+".config", declared.source.Check())
		case declared.Orders():
			if !declared.Config.IsZero() {
				c.add(path+".config", "it is for type kubernetes, and this issuer is of type acme: leave it out, or write type: kubernetes")
			}
			c.part(path, declared.ACME.Check())
		default:
			c.add(path+".type", "this is no type of issuer: use acme or kubernetes")
		}
	}
}

// ofACMEAlone refuses what an issuer that orders nothing has no use for.
func (c *checks) ofACMEAlone(path string) {
	node := c.root.Child(path)
	for _, field := range strict.Fields(reflect.TypeFor[issuer.Config]()) {
		if field.Name != "name" && !node.Child(field.Name).IsZero() {
			c.add(path+"."+field.Name, "it is for type acme: one of type kubernetes orders nothing, so leave it out")
		}
	}
}
