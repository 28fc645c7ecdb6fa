package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/config/strict"
)

// checks looks for what is wrong beyond the types.
type checks struct {
	*Config
	problems []strict.Problem

	issuerNames, certificateNames names
}

func (c *checks) run() []strict.Problem {
	c.head()
	c.store()
	c.issuers()
	c.certificates()
	c.sinks()
	c.notify()
	c.secrets()
	return c.problems
}

func (c *checks) add(path, format string, args ...any) {
	c.problems = append(c.problems, c.root.Problem(path, fmt.Sprintf(format, args...)))
}

// part adds what a part found wrong with its own configuration.
func (c *checks) part(path string, found []anycert.Problem) {
	for _, problem := range found {
		separator := "."
		if problem.Field == "" || problem.Field[0] == '[' {
			separator = ""
		}
		c.add(path+separator+problem.Field, "%s", problem.Text)
	}
}

func (c *checks) head() {
	if c.Version < 1 {
		c.add("version", "it is missing: write version: %d", Version)
	}
	if c.Owner == "" {
		c.add("owner", "it is missing: give this hub a name, as in owner: example-prod")
	} else if err := anycert.CheckName(c.Owner); err != nil {
		c.add("owner", "%v", err)
	}
	if _, text := parseSchedule(c.Reconcile.Schedule); text != "" {
		c.add("reconcile.schedule", "%s", text)
	}
	if soak := c.Reconcile.soak(); soak < 0 || soak > 24*time.Hour {
		c.add("reconcile.soak", "this is no time to soak: write one from 0s to 24h, as in 10m")
	}
	brake := c.Reconcile.brake()
	if brake.Percent < 1 || brake.Percent > 100 {
		c.add("reconcile.brake.percent", "this is no share: write 1 to 100, where 100 lets everything through")
	}
	if brake.Targets < 1 {
		c.add("reconcile.brake.targets", "this is no number of targets: write 1 or more")
	}
	c.http()
}

func (c *checks) store() { c.storeAt("store", c.Store) }

func (c *checks) storeAt(path string, store Store) {
	switch {
	case store.Vault == nil && store.Local == nil:
		c.add(path, "it is missing: write store: {vault: …}, or store: {local: {path: anycert.db}} to try anycert out")
	case store.Vault != nil && store.Local != nil:
		c.add(path+".local", "there are two stores: one is the truth, so keep vault or local")
	case store.Vault != nil:
		c.part(path+".vault", store.Vault.Check())
	default:
		c.part(path+".local", store.Local.Check())
	}
}

func (c *checks) certificates() {
	c.certificateNames = c.names("certificate")
	for i, certificate := range c.Certificates {
		path := fmt.Sprintf("certificates[%d]", i)
		c.certificateNames.claim(path, certificate.Name)
		c.domains(path+".domains", certificate.Domains)
		c.issuersOf(path+".issuer", certificate.Issuer)
		if kind := certificate.KeyType; kind != "" && !slices.Contains(anycert.KeyTypes(), kind) {
			c.add(path+".key_type", "this is no type of key: use one of %s", words(anycert.KeyTypes()))
		}
		c.verify(path+".verify", certificate.Verify, certificate.Domains, "this certificate")
	}
}

func (c *checks) domains(path string, domains []string) {
	if len(domains) == 0 {
		c.add(path, "it is missing: name what the certificate is for, as in [example.com, \"*.example.com\"]")
	}
	seen := map[string]bool{}
	for i, domain := range domains {
		place := fmt.Sprintf("%s[%d]", path, i)
		if err := anycert.CheckDomain(domain); err != nil {
			c.add(place, "%v", err)
		} else if seen[domain] {
			c.add(place, "%s is listed twice", domain)
		}
		seen[domain] = true
	}
}

func (c *checks) sinks() {
	names := c.names("sink")
	for i, sink := range c.Sinks {
		path := fmt.Sprintf("sinks[%d]", i)
		names.claim(path, sink.Name)
		c.belonging(path+".certificates", sink.Certificates)
		var domains []string
		for _, certificate := range sink.of(c.declared()) {
			domains = append(domains, certificate.Domains...)
		}
		c.verify(path+".verify", sink.Verify, domains, "any certificate of this sink")
		switch {
		case sink.Type == "":
			c.add(path+".type", "it is missing: use one of %s", typeNames())
		case sink.config == nil:
			c.add(path+".type", "this is no type of sink: use one of %s", typeNames())
		default:
			c.part(path+".config", sink.config.Check())
		}
	}
}

// belonging checks a sink's list of certificates.
func (c *checks) belonging(path string, names []string) {
	if len(names) == 0 {
		c.add(path, "it is missing: name the certificates that belong here, or [\"*\"] for all that are declared")
	}
	seen := map[string]bool{}
	for i, name := range names {
		place := fmt.Sprintf("%s[%d]", path, i)
		switch {
		case name == all && len(names) > 1:
			c.add(place, "\"*\" stands for all: write it alone")
		case name == all:
		case !c.certificateNames.has(name):
			c.add(place, "no certificate has this name: declare it under certificates")
		case seen[name]:
			c.add(place, "it is listed twice")
		}
		seen[name] = true
	}
}

// secrets checks that there is a Vault to read from where a reference names one.
func (c *checks) secrets() {
	for _, reference := range c.references {
		if reference.Vault != "" && c.Store.Vault == nil {
			c.add(reference.Path, "there is no Vault to read it from: use store.vault, or {env: NAME} or {file: PATH}")
		}
	}
}

// names makes sure that names are names, and unique.
func (c *checks) names(what string) names { return names{c, what, map[string]string{}} }

type names struct {
	checks *checks
	what   string
	taken  map[string]string // by name, the path of who has it
}

func (n names) has(name string) bool { return n.taken[name] != "" }

func (n names) claim(path, name string) {
	if err := anycert.CheckName(name); err != nil {
		n.checks.add(path+".name", "%v", err)
	} else if n.has(name) {
		n.checks.add(path+".name", "%s has this name too: each %s needs its own", n.taken[name], n.what)
		return
	}
	n.taken[name] = path
}

func words[T ~string](list []T) string {
	texts := make([]string, len(list))
	for i, text := range list {
		texts[i] = string(text)
	}
	return strings.Join(texts, ", ")
}
