package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/store"
)

// PolicyOptions say what Policy is to list.
type PolicyOptions struct {
	Roles    []anycert.Role // none: all that this configuration can be used for
	Only     []string       // parts, by name or type: vault, dns, kubernetes, prod; none: all
	Subjects []string       // accounts that anycert comes with, as a sink's Grantee has them
	Retired  []string       // certificates that were declared once, and are to be pruned
	Delegate string         // zone that the _acme-challenge names lead into
}

// Section is what one place has to be told.
type Section struct {
	Title string // for people: "Vault: hub"
	Text  anycert.Grants

	names []string // what Only may call it
	roles []anycert.Role
}

// Policy lists the rights that this configuration needs: at the store, at the DNS
// providers, at every sink. Nothing that it names is opened and nobody is asked.
func (c *Config) Policy(options PolicyOptions) ([]Section, error) {
	roles := options.Roles
	if len(roles) == 0 {
		roles = c.roles()
	}
	var sections sections
	for _, role := range roles {
		if role == anycert.Hub && len(c.Issuers) == 0 {
			return nil, fmt.Errorf("%s has no issuers, so it makes no hub: ask for a follower", c.file)
		}
		if err := c.storePolicy(&sections, role); err != nil {
			return nil, err
		}
		if err := c.issuerPolicies(&sections, role, options); err != nil {
			return nil, err
		}
	}
	for i := range c.Sinks {
		for _, role := range roles {
			if err := c.sinkPolicy(&sections, i, role, options); err != nil {
				return nil, err
			}
		}
	}
	return sections.only(options.Only)
}

// Lock lists what makes the places that can be locked refuse whoever changes our
// copies.
func (c *Config) Lock(options PolicyOptions) ([]Section, error) {
	var sections sections
	for i, declared := range c.Sinks {
		locker, ok := declared.config.(anycert.Locker)
		if !ok {
			continue
		}
		text, err := locker.Lock(c.grantee(i, anycert.Hub, options), c.place())
		if err != nil {
			return nil, fmt.Errorf("sink %s: %w", declared.Name, err)
		}
		sections.add("Lock: sink "+declared.Name, "", text, declared.Name, declared.Type)
	}
	if len(sections) == 0 {
		return nil, fmt.Errorf("%s has no sink that can be locked: those of type kubernetes can", c.file)
	}
	return sections.only(options.Only)
}

// roles are those that a configuration can be used for.
func (c *Config) roles() []anycert.Role {
	return slices.DeleteFunc(anycert.Roles(), func(role anycert.Role) bool { return role == anycert.Hub && len(c.Issuers) == 0 })
}

// place is where the certificates are kept, for people; the name of one follows.
func (c *Config) place() string {
	if c.Store.Vault != nil {
		return c.Store.Vault.Place()
	}
	return "the file " + c.Store.Local.Path + " under the name "
}

func (c *Config) storePolicy(to *sections, role anycert.Role) error {
	if c.Store.Vault == nil {
		to.add("Store: local", role, anycert.Grants("# The user that runs anycert has to read and write "+anycert.ShellWord(c.Store.Local.Path)+" and its folder; nobody else should.\n"), "local")
		return nil
	}
	rights, err := c.Store.Vault.Policy(c.need(role))
	if err != nil {
		return fmt.Errorf("%s: %w", c.file, err)
	}
	namespace := ""
	if c.Store.Vault.Namespace != "" {
		namespace = "-namespace=" + strings.TrimSuffix(c.Store.Vault.Namespace, "/") + " "
	}
	head := fmt.Sprintf("# anycert policy %[1]s --only vault | vault policy write %[2]sanycert-%[1]s -\n\n", role, namespace)
	to.add("Vault", role, anycert.Grants(head+store.HCL(rights)), "vault")
	return nil
}

// rights are those at the store for what this configuration is run for.
func (c *Config) rights() ([]store.Right, error) {
	if c.Store.Vault == nil {
		return nil, nil
	}
	return c.Store.Vault.Policy(c.need(c.roles()[0]))
}

// need is what a role does with the store under this configuration.
func (c *Config) need(role anycert.Role) store.Need {
	need := store.Need{Role: role, Certificates: c.declared()}
	if len(c.Notify) > 0 && role.Pushes() {
		need.Alarms = c.Owner
	}
	orders := map[string]bool{} // by name of issuer
	for _, issuer := range c.Issuers {
		if !issuer.Orders() {
			continue
		}
		need.Orders, orders[issuer.Name()] = true, true
		if slices.ContainsFunc(c.Certificates, func(certificate Certificate) bool { return slices.Contains(certificate.Issuer, issuer.Name()) }) {
			need.Accounts = append(need.Accounts, issuer.Name())
		}
	}
	for _, certificate := range c.Certificates {
		if orders[certificate.Issuer.first()] {
			need.Ordered = append(need.Ordered, certificate.Name)
		}
	}
	for _, reference := range c.references {
		ofIssuer, ofReceiver := strings.HasPrefix(reference.Path, "issuers"), strings.HasPrefix(reference.Path, "notify")
		if reference.Vault == "" || role == anycert.Laptop || ofIssuer && role != anycert.Hub || ofReceiver && !role.Pushes() {
			continue
		}
		need.Fields = append(need.Fields, store.Field{Text: reference.Vault, For: reference.Path})
	}
	return need
}

// issuerPolicies are the rights at DNS providers, and in clusters that certificates
// come from.
func (c *Config) issuerPolicies(to *sections, role anycert.Role, options PolicyOptions) error {
	if role != anycert.Hub {
		return nil
	}
	for _, issuer := range c.Issuers {
		var certificates []anycert.Certificate
		var domains []string
		for _, certificate := range c.declared() {
			if slices.Contains(certificate.Issuers(), issuer.Name()) {
				certificates = append(certificates, certificate)
				domains = append(domains, certificate.Domains...)
			}
		}
		title := "issuer " + issuer.Name()
		if issuer.Orders() {
			to.add("DNS: "+title, role, issuer.ACME.DNS.Grants(domains, options.Delegate), "dns", issuer.Name())
			continue
		}
		text, err := issuer.source.Grants(anycert.Grantee{Role: role, Owner: c.Owner, Sink: issuer.Name(), Certificates: certificates, Subjects: options.Subjects})
		if err != nil {
			return fmt.Errorf("issuer %s: %w", issuer.Name(), err)
		}
		to.add(issuer.Type+": "+title, role, text, issuer.Type, issuer.Name())
	}
	return nil
}

func (c *Config) sinkPolicy(to *sections, index int, role anycert.Role, options PolicyOptions) error {
	declared := c.Sinks[index]
	grantor, ok := declared.config.(anycert.Grantor)
	if !ok {
		return nil
	}
	text, err := grantor.Grants(c.grantee(index, role, options))
	if err != nil {
		return fmt.Errorf("sink %s: %w", declared.Name, err)
	}
	to.add(declared.Type+": sink "+declared.Name, role, text, declared.Type, declared.Name)
	return nil
}

func (c *Config) grantee(index int, role anycert.Role, options PolicyOptions) anycert.Grantee {
	declared := c.Sinks[index]
	return anycert.Grantee{
		Role: role, Owner: c.Owner, Sink: declared.Name, Certificates: declared.of(c.declared()),
		Retired: options.Retired, Subjects: options.Subjects,
	}
}

// sections collects what is to be said. Where two roles need the same it is said once.
type sections []Section

func (s *sections) add(title string, role anycert.Role, text anycert.Grants, names ...string) {
	if text == "" {
		return
	}
	same := slices.IndexFunc(*s, func(other Section) bool { return other.Title == title && other.Text == text })
	if same < 0 {
		*s = append(*s, Section{Title: title, Text: text, names: names})
		same = len(*s) - 1
	}
	if role != "" {
		(*s)[same].roles = append((*s)[same].roles, role)
	}
}

// only are the sections that were asked for, with their roles in the title.
func (s sections) only(wanted []string) ([]Section, error) {
	var chosen []Section
	known := map[string]bool{}
	for _, section := range s {
		asked := len(wanted) == 0
		for _, name := range section.names {
			known[name] = true
			asked = asked || slices.Contains(wanted, name)
		}
		if !asked {
			continue
		}
		if len(section.roles) > 0 {
			section.Title += ": " + words(section.roles)
		}
		chosen = append(chosen, section)
	}
	for _, name := range wanted {
		if !known[name] {
			return nil, fmt.Errorf("--only %s: there is nothing to list of that name: there is %s", name, sorted(known))
		}
	}
	return chosen, nil
}

func sorted(set map[string]bool) string {
	var names []string
	for name := range set {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
