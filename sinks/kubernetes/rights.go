package kubernetes

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/anycert/anycert"
)

var (
	_ anycert.Grantor = Config{}
	_ anycert.Grantor = SourceConfig{}
	_ anycert.Locker  = Config{}
)

// The service accounts that are given rights when no others are named.
const (
	defaultSubject = us + "/" + us
	defaultAuditor = us + "/" + us + "-auditor"
)

// Grants lists, as YAML for kubectl, a Role and a RoleBinding for each namespace. They
// are named after owner and sink, so that two hubs and two sinks add to each other's
// rights in one namespace.
func (c Config) Grants(to anycert.Grantee) (anycert.Grants, error) {
	if to.Role == anycert.Laptop {
		return "", nil
	}
	subjects, err := parseSubjects(to)
	if err != nil {
		return "", err
	}
	names, err := c.secretNames(to.Certificates)
	if err != nil {
		return "", err
	}
	granting := granting{Kubectl: c.kubectl(), Subjects: subjects}
	switch {
	case len(names) == 0:
	case to.Role == anycert.Auditor:
		granting.add(nameOf(to, "auditor"), c.Namespaces, c.auditing(names))
	default:
		granting.add(nameOf(to), c.Namespaces, c.syncing(names))
		granting.add(nameOf(to, "events"), c.Namespaces, telling())
	}
	if len(to.Retired) > 0 && to.Role.Pushes() {
		retired, err := c.secretNames(undomained(to.Retired))
		if err != nil {
			return "", err
		}
		granting.add(nameOf(to, "prune"), c.Namespaces, pruning(retired))
	}
	return granting.text()
}

// Grants lists a Role for each namespace of the source: to get Secrets, and nothing
// else. Who does not issue needs none of it.
func (c SourceConfig) Grants(to anycert.Grantee) (anycert.Grants, error) {
	if to.Role != anycert.Hub {
		return "", nil
	}
	subjects, err := parseSubjects(to)
	if err != nil {
		return "", err
	}
	place, err := parsePlace(c.Secret)
	if err != nil {
		return "", fmt.Errorf("secret: %w", err)
	}
	names := map[string][]string{} // by namespace
	for _, certificate := range to.Certificates {
		at, err := place.address(certificate.Name)
		if err != nil {
			return "", fmt.Errorf("where certificate %s lies: %w", certificate.Name, err)
		}
		names[at.namespace] = append(names[at.namespace], at.name)
	}
	granting := granting{Kubectl: c.access().kubectl(), Subjects: subjects}
	for _, namespace := range slices.Sorted(maps.Keys(names)) {
		granting.add(nameOf(to, "source"), []string{namespace}, []rule{
			{Why: "get: what somebody else renews is fetched from here, with its key, and never written.", Names: names[namespace], Verbs: []string{"get"}}})
	}
	return granting.text()
}

// nameOf is the name of what is made for a sink, or issuer. No other has it: its parts
// have no dots.
func nameOf(to anycert.Grantee, use ...string) string {
	return strings.Join(append([]string{us, to.Owner, to.Sink}, use...), ".")
}

// rule is one rule of a Role, about Secrets unless it says otherwise.
type rule struct {
	Why   string
	Names []string // empty: all of the namespace
	Verbs []string
	Of    *resource // nil: Secrets
}

type resource struct{ Group, Name string }

// Resource is what a rule is about.
func (r rule) Resource() resource {
	if r.Of != nil {
		return *r.Of
	}
	return resource{"", "secrets"}
}

func (c Config) syncing(names []string) []rule {
	return append([]rule{
		{Why: "get: each pass looks at what is there. patch: server-side apply, the only way in which anycert writes.", Names: names, Verbs: []string{"get", "patch"}},
		{Why: "create: the first apply makes the Secret. Kubernetes cannot limit it by name; anycert makes those above.", Verbs: []string{"create"}},
	}, c.listing()...)
}

func (c Config) auditing(names []string) []rule {
	return append([]rule{
		{Why: "get: an audit compares what is there. Kubernetes shows the key with it; anycert keeps its hash.", Names: names, Verbs: []string{"get"}},
	}, c.listing()...)
}

// listing is there with list: true alone, since it shows every Secret of a namespace.
func (c Config) listing() []rule {
	if !c.List {
		return nil
	}
	return []rule{{Why: "list: one listing for each pass, as list: true says; an audit finds with it what is no longer declared, and what only looks like ours. It shows every Secret of the namespace.", Verbs: []string{"list"}}}
}

// telling is a Role of its own, so that whoever does not want it can leave it out.
func telling() []rule {
	return []rule{{Why: "Optional. Events tell people in the namespace what anycert did about its Secrets; without this none are made, and nothing else is missing. create: the first. patch: counting it up.",
		Verbs: []string{"create", "patch"}, Of: &resource{"events.k8s.io", "events"}}}
}

func pruning(names []string) []rule {
	return []rule{
		{Why: "get, delete: prune looks once more, and deletes the object that it looked at.", Names: names, Verbs: []string{"delete", "get"}},
		{Why: "list: prune finds them so. It shows every Secret of the namespace.", Verbs: []string{"list"}},
	}
}

// secretNames are those of the Secrets of certificates, in their order.
func (c Config) secretNames(certificates []anycert.Certificate) ([]string, error) {
	made, err := parseTemplate(c.Secret)
	if err != nil {
		return nil, fmt.Errorf("secret: %w", err)
	}
	var names []string
	for _, certificate := range certificates {
		name, err := made.name(certificate.Name)
		if err != nil {
			return nil, fmt.Errorf("naming the Secret of certificate %q: %w", certificate.Name, err)
		}
		names = append(names, name)
	}
	return names, nil
}

// undomained are certificates of which no more than the name is known.
func undomained(names []string) (certificates []anycert.Certificate) {
	for _, name := range names {
		certificates = append(certificates, anycert.Certificate{Name: name})
	}
	return certificates
}

// kubectl is the command that reaches the cluster for an administrator, as far as the
// configuration tells.
func (c Config) kubectl() string {
	command := "kubectl"
	if c.Kubeconfig != "" {
		command += " --kubeconfig " + anycert.ShellWord(c.Kubeconfig)
	}
	if c.Context != "" {
		command += " --context " + anycert.ShellWord(c.Context)
	}
	if c.Server != "" {
		command += " --server " + anycert.ShellWord(c.Server)
	}
	return command
}
