package kubernetes

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"k8s.io/apimachinery/pkg/api/validate/content"

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
	named := us + "-" + to.Owner + "-" + to.Sink
	granting := granting{Kubectl: c.kubectl(), Subjects: subjects}
	switch {
	case len(names) == 0:
	case to.Role == anycert.Auditor:
		granting.add(named+"-auditor", c.Namespaces, c.auditing(names))
	default:
		granting.add(named, c.Namespaces, c.syncing(names))
	}
	if len(to.Retired) > 0 && to.Role.Pushes() {
		retired, err := c.secretNames(undomained(to.Retired))
		if err != nil {
			return "", err
		}
		granting.add(named+"-prune", c.Namespaces, pruning(retired))
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
		granting.add(us+"-"+to.Owner+"-"+to.Sink+"-source", []string{namespace}, []rule{
			{"get: what somebody else renews is fetched from here, with its key, and never written.", names[namespace], []string{"get"}}})
	}
	return granting.text()
}

// rule is one rule of a Role about Secrets.
type rule struct {
	Why   string
	Names []string // empty: all of the namespace
	Verbs []string
}

func (c Config) syncing(names []string) []rule {
	return append([]rule{
		{"get: each pass looks at what is there. patch: server-side apply, the only way in which anycert writes.", names, []string{"get", "patch"}},
		{"create: the first apply makes the Secret. Kubernetes cannot limit it by name; anycert makes those above.", nil, []string{"create"}},
	}, c.listing()...)
}

func (c Config) auditing(names []string) []rule {
	return append([]rule{
		{"get: an audit compares what is there. Kubernetes shows the key with it; anycert keeps its hash.", names, []string{"get"}},
	}, c.listing()...)
}

// listing is there with list: true alone, since it shows every Secret of a namespace.
func (c Config) listing() []rule {
	if !c.List {
		return nil
	}
	return []rule{{"list: one listing for each pass, as list: true says. It shows every Secret of the namespace.", nil, []string{"list"}}}
}

func pruning(names []string) []rule {
	return []rule{
		{"get, delete: prune looks once more, and deletes the object that it looked at.", names, []string{"delete", "get"}},
		{"list: prune finds them so. It shows every Secret of the namespace.", nil, []string{"list"}},
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
		command += " --kubeconfig " + c.Kubeconfig
	}
	if c.Context != "" {
		command += " --context " + c.Context
	}
	if c.Server != "" {
		command += " --server " + c.Server
	}
	return command
}

// subject is who is given rights.
type subject struct{ Kind, Namespace, Name string }

// parseSubjects reads NAMESPACE/NAME of a service account, user:NAME and group:NAME.
func parseSubjects(to anycert.Grantee) ([]subject, error) {
	texts := to.Subjects
	switch {
	case len(texts) == 0 && to.Role == anycert.Auditor:
		texts = []string{defaultAuditor}
	case len(texts) == 0:
		texts = []string{defaultSubject}
	}
	var subjects []subject
	for _, text := range texts {
		kind, name, other := strings.Cut(text, ":")
		namespace, account, _ := strings.Cut(text, "/")
		switch {
		case other && kind == "user" && name != "":
			subjects = append(subjects, subject{Kind: "User", Name: name})
		case other && kind == "group" && name != "":
			subjects = append(subjects, subject{Kind: "Group", Name: name})
		case len(content.IsDNS1123Label(namespace)) == 0 && len(content.IsDNS1123Subdomain(account)) == 0:
			subjects = append(subjects, subject{Kind: "ServiceAccount", Namespace: namespace, Name: account})
		default:
			return nil, fmt.Errorf("%q is no subject: write NAMESPACE/NAME of a service account, user:NAME or group:NAME", text)
		}
	}
	return subjects, nil
}

// User is the name by which the API server knows a service account or user.
func (s subject) User() string {
	if s.Kind == "ServiceAccount" {
		return "system:serviceaccount:" + s.Namespace + ":" + s.Name
	}
	return s.Name
}

// Group is the API group of RBAC for what is no object of the cluster.
func (s subject) Group() bool { return s.Kind != "ServiceAccount" }

// granting is what the template writes.
type granting struct {
	Kubectl  string
	Subjects []subject
	Roles    []role
}

type role struct {
	Name, Namespace string
	Rules           []rule
}

func (g *granting) add(name string, namespaces []string, rules []rule) {
	for _, namespace := range slices.Sorted(slices.Values(namespaces)) {
		g.Roles = append(g.Roles, role{name, namespace, rules})
	}
}

func (g *granting) text() (anycert.Grants, error) {
	if len(g.Roles) == 0 {
		return "", nil
	}
	var out strings.Builder
	err := roles.Execute(&out, g)
	return anycert.Grants(out.String()), err
}

// Accounts are the subjects that can be made beforehand.
func (g *granting) Accounts() (accounts []subject) {
	for _, s := range g.Subjects {
		if s.Kind == "ServiceAccount" {
			accounts = append(accounts, s)
		}
	}
	return accounts
}

var yamlFuncs = template.FuncMap{"q": quote, "list": quoteList}

var roles = template.Must(template.New("roles").Funcs(yamlFuncs).Parse(
	`# {{.Kubectl}} apply -f -
{{- range .Accounts}}
# Before, unless the account is there:
#   {{$.Kubectl}} create namespace {{.Namespace}}
#   {{$.Kubectl}} -n {{.Namespace}} create serviceaccount {{.Name}}
{{- end}}
{{range .Roles}}---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{q .Name}}
  namespace: {{q .Namespace}}
rules:
{{- range .Rules}}
  # {{.Why}}
  - apiGroups: [""]
    resources: [secrets]
    {{- with .Names}}
    resourceNames: {{list .}}
    {{- end}}
    verbs: {{list .Verbs}}
{{- end}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{q .Name}}
  namespace: {{q .Namespace}}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{q .Name}}
subjects:
{{- range $.Subjects}}
  - kind: {{.Kind}}
    {{- if .Group}}
    apiGroup: rbac.authorization.k8s.io
    {{- else}}
    namespace: {{q .Namespace}}
    {{- end}}
    name: {{q .Name}}
{{- end}}
{{end}}`))

// plain is what YAML reads as a text without quotes, but for some words.
var plain = regexp.MustCompile(`^[a-z][a-z0-9.-]*$`)

// quote writes a text in YAML.
func quote(text string) (string, error) {
	notTexts := []string{"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
	if plain.MatchString(text) && !slices.Contains(notTexts, text) {
		return text, nil
	}
	quoted, err := json.Marshal(text)
	return string(quoted), err
}

func quoteList(texts []string) (string, error) {
	var items []string
	for _, text := range texts {
		item, err := quote(text)
		if err != nil {
			return "", err
		}
		items = append(items, item)
	}
	return "[" + strings.Join(items, ", ") + "]", nil
}
