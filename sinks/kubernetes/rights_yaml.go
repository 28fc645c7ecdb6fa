package kubernetes

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"text/template"
	"unicode"

	"k8s.io/apimachinery/pkg/api/validate/content"

	"github.com/anycert/anycert"
)

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
		case strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }):
			return nil, fmt.Errorf("%q is no subject: it holds what cannot be printed", text)
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
  - apiGroups: [{{printf "%q" .Resource.Group}}]
    resources: [{{.Resource.Name}}]
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
