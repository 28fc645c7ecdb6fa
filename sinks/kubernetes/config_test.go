package kubernetes_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/sinks/kubernetes"
)

func decode(t *testing.T, text string) kubernetes.Config {
	t.Helper()
	var config kubernetes.Config
	if err := yaml.UnmarshalWithOptions([]byte(text), &config, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	return config
}

func TestCheck(t *testing.T) {
	const good = "context: prod\nnamespaces: [web]\n"
	tests := map[string]struct {
		yaml string
		want []string // fields
	}{
		"the example of the design": {yaml: `{context: prod, namespaces: [web, api], secret: "{{ .Name }}-tls", adopt: [web/example-tls]}`},
		"in the cluster":            {yaml: "in_cluster: true\nnamespaces: [web]"},
		"by server":                 {yaml: "server: https://api.example.com:6443\nca: /etc/ca.pem\ntoken: {env: TOKEN}\nnamespaces: [web]"},
		"a server on loopback":      {yaml: "server: http://127.0.0.1:8001\ntoken: {env: TOKEN}\nnamespaces: [web]"},
		"labels and annotations":    {yaml: good + "labels: {team: web, example.com/x: ''}\nannotations: {example.com/Note: any text, reloader: 'true'}"},
		"a name without template":   {yaml: good + "secret: wildcard.example"},

		"nothing":                 {yaml: "{}", want: []string{"", "namespaces"}},
		"two ways":                {yaml: good + "in_cluster: true", want: []string{""}},
		"token without server":    {yaml: good + "token: {env: TOKEN}\nca: x.pem", want: []string{"ca", "token"}},
		"server without token":    {yaml: "server: https://a.example.com\nnamespaces: [web]", want: []string{"token"}},
		"server over http":        {yaml: "server: http://a.example.com\ntoken: {env: T}\nnamespaces: [web]", want: []string{"server"}},
		"server without scheme":   {yaml: "server: a.example.com:6443\ntoken: {env: T}\nnamespaces: [web]", want: []string{"server"}},
		"server with a password":  {yaml: "server: https://me:hunter2@a.example.com\ntoken: {env: T}\nnamespaces: [web]", want: []string{"server"}},
		"a namespace's name":      {yaml: "context: prod\nnamespaces: [web, Web, a.b, web]", want: []string{"namespaces[1]", "namespaces[2]", "namespaces[3]"}},
		"a template's syntax":     {yaml: good + `secret: "{{ .Name"`, want: []string{"secret"}},
		"a template's field":      {yaml: good + `secret: "{{ .Namespace }}-tls"`, want: []string{"secret"}},
		"a template's result":     {yaml: good + `secret: "{{ .Name }}_TLS"`, want: []string{"secret"}},
		"adopt without namespace": {yaml: good + "adopt: [example-tls, web/example-tls, api/example-tls, web/a/b]", want: []string{"adopt[0]", "adopt[2]", "adopt[3]"}},
		"labels":                  {yaml: good + "labels: {'a b': x, team: 'a b', app.kubernetes.io/managed-by: me, anycert.dev/x: y}", want: []string{"labels.a b", "labels.anycert.dev/x", "labels.app.kubernetes.io/managed-by", "labels.team"}},
		"annotations":             {yaml: good + "annotations: {'a b': x, anycert.dev/owner: me, x.anycert.dev/y: z}", want: []string{"annotations.a b", "annotations.anycert.dev/owner", "annotations.x.anycert.dev/y"}},
		"annotations too long":    {yaml: good + "annotations: {a: " + strings.Repeat("x", 300<<10) + "}", want: []string{"annotations"}},
		"qps and burst":           {yaml: good + "qps: -1\nburst: -1", want: []string{"qps", "burst"}},
		"many at once":            {yaml: "namespaces: [A]\nqps: -1", want: []string{"", "namespaces[0]", "qps"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var fields []string
			for _, problem := range decode(t, test.yaml).Check() {
				fields = append(fields, problem.Field)
				if problem.Text == "" || strings.HasSuffix(problem.Text, ".") || strings.Contains(problem.Text, "hunter2") {
					t.Errorf("%s: the text is %q", problem.Field, problem.Text)
				}
			}
			if diff := cmp.Diff(test.want, fields); diff != "" {
				t.Errorf("problems of these fields (-want +got):\n%s", diff)
			}
		})
	}
}

// A kubeconfig of two contexts for one server, and one for another.
const kubeconfig = `
apiVersion: v1
kind: Config
current-context: prod
clusters:
- {name: a, cluster: {server: "https://API.example.com:443"}}
- {name: a-again, cluster: {server: "https://api.example.com/"}}
- {name: b, cluster: {server: "https://api.example.com:6443"}}
- {name: shared, cluster: {server: "https://rancher.example.com/k8s/clusters/c-1"}}
- {name: insecure, cluster: {server: "https://api.example.com", insecure-skip-tls-verify: true}}
- {name: plain, cluster: {server: "http://api.example.com"}}
users:
- {name: me, user: {token: t0ps3cr3t}}
- {name: plugin, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: no-such-plugin, interactiveMode: Never}}}
- {name: provider, user: {auth-provider: {name: gcp}}}
contexts:
- {name: prod, context: {cluster: a, user: me}}
- {name: again, context: {cluster: a-again, user: me}}
- {name: dev, context: {cluster: b, user: me}}
- {name: shared, context: {cluster: shared, user: me}}
- {name: insecure, context: {cluster: insecure, user: me}}
- {name: plain, context: {cluster: plain, user: me}}
- {name: plugin, context: {cluster: a, user: plugin}}
- {name: provider, context: {cluster: a, user: provider}}
`

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTargetsAreTheSameHoweverTheClusterIsReached(t *testing.T) {
	path := writeFile(t, kubeconfig)
	tests := map[string]struct {
		config kubernetes.Config
		want   string // server
	}{
		"the current context": {kubernetes.Config{Kubeconfig: path}, "api.example.com"},
		"another context":     {kubernetes.Config{Kubeconfig: path, Context: "again"}, "api.example.com"},
		"by server":           {kubernetes.Config{Server: "https://api.example.com", Token: anycert.Reference{Env: "T"}}, "api.example.com"},
		"another port":        {kubernetes.Config{Kubeconfig: path, Context: "dev"}, "api.example.com:6443"},
		"behind a path":       {kubernetes.Config{Kubeconfig: path, Context: "shared"}, "rancher.example.com/k8s/clusters/c-1"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.config.Namespaces = []string{"web", "api"}
			got, err := open(t, "example-prod", test.config, &credential{}).Targets("shop", []string{"shop.example.com"})
			want := []anycert.Target{
				{Key: "k8s://" + test.want + "/web/shop-tls", Label: "web/shop-tls", Certificate: "shop"},
				{Key: "k8s://" + test.want + "/api/shop-tls", Label: "api/shop-tls", Certificate: "shop"},
			}
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Errorf("Targets: %v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestTargetsNameTheSecretByTheTemplate(t *testing.T) {
	path := writeFile(t, kubeconfig)
	for template, want := range map[string]string{
		"":                                 "web/shop-tls",
		"wildcard":                         "web/wildcard",
		"{{ .Name }}.example.com":          "web/shop.example.com",
		`{{ if eq .Name "shop" }}a{{end}}`: "web/a",
	} {
		sink := open(t, "example-prod", kubernetes.Config{Kubeconfig: path, Namespaces: []string{"web"}, Secret: strings.ReplaceAll(template, "a{{end}}", "a{{else}}b{{end}}")}, &credential{})
		if got, err := sink.Targets("shop", nil); err != nil || got[0].Label != want {
			t.Errorf("%q: Targets returned (%+v, %v), want %s", template, got, err, want)
		}
	}
	sink := open(t, "example-prod", kubernetes.Config{Kubeconfig: path, Namespaces: []string{"web"}, Secret: `{{ if eq .Name "example" }}a{{ end }}`}, &credential{})
	if got, err := sink.Targets("shop", nil); err == nil || !strings.Contains(err.Error(), `"shop"`) {
		t.Errorf("a template that makes an empty name: Targets returned (%+v, %v)", got, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	path := writeFile(t, kubeconfig)
	tests := map[string]struct {
		config kubernetes.Config
		want   string
	}{
		"no file":          {kubernetes.Config{Kubeconfig: filepath.Join(t.TempDir(), "none")}, "no such file"},
		"no context":       {kubernetes.Config{Kubeconfig: path, Context: "prd"}, `no context "prd": it has ["again" "dev" "insecure"`},
		"unverified TLS":   {kubernetes.Config{Kubeconfig: path, Context: "insecure"}, "set certificate-authority"},
		"no TLS":           {kubernetes.Config{Kubeconfig: path, Context: "plain"}, "not https"},
		"a plugin":         {kubernetes.Config{Kubeconfig: path, Context: "plugin"}, `the command "no-such-plugin", which is not here`},
		"a provider":       {kubernetes.Config{Kubeconfig: path, Context: "provider"}, `auth-provider "gcp"`},
		"no pod":           {kubernetes.Config{InCluster: true}, "works in a pod"},
		"no CA":            {kubernetes.Config{Server: "https://a.example.com", CA: "/none.pem", Token: anycert.Reference{Env: "T"}}, "/none.pem"},
		"a CA of nonsense": {kubernetes.Config{Server: "https://a.example.com", CA: path, Token: anycert.Reference{Env: "T"}}, "a.example.com"},
		"a token as file":  {kubernetes.Config{Kubeconfig: writeFile(t, "t0ps3cr3t-t0ps3cr3t-t0ps3cr3t\n")}, "reading the kubeconfig"},
		"a broken file":    {kubernetes.Config{Kubeconfig: writeFile(t, "users: t0ps3cr3t-t0ps3cr3t-t0ps3cr3t\n")}, "reading the kubeconfig"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Setenv("KUBERNETES_SERVICE_HOST", "")
			test.config.Namespaces = []string{"web"}
			_, err := test.config.Open(anycert.SinkEnv{Name: "prod", Owner: "example-prod",
				Credential: func(anycert.Reference) anycert.Credential { return &credential{} }})
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), `"prod"`) {
				t.Errorf("Open returned %v, want an error with %q that names the sink", err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "t0ps3cr3t") {
				t.Errorf("the error shows what stands in the file: %v", err)
			}
		})
	}
}
