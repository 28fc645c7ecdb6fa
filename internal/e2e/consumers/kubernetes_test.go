package consumers

import (
	"os"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/world"
)

// The API server takes the page's manifests, strictly, and every Secret that they name
// is one that anycert keeps.
func TestManifests(t *testing.T) {
	t.Parallel()
	w := world.New(t, world.Options{Clusters: []string{"prod"}})
	w.Must(w.Clusters["prod"].CreateNamespaces(t.Context(), "web"))
	for name, domains := range map[string][]string{"example": {"example.com", "*.example.com"}, "api": {"api.example.com"}} {
		w.Put(name, testenv.IssueFrom(t, w.Strangers, certs.Options{Names: domains}))
	}
	w.Kept(w.Report(0, w.Config("hub.yaml", `version: 1
owner: hub
store: {{.Store .Root}}
certificates:
  - {name: example, domains: [example.com, "*.example.com"]}
  - {name: api, domains: [api.example.com]}
sinks:
  - {name: prod, type: kubernetes, certificates: ["*"], config: { {{.Admin "prod"}}, namespaces: [web]}}
`, w), "sync"))
	definitions, err := os.ReadFile("testdata/crds.yaml")
	w.Must(err)
	if got := w.Kubectl("prod", string(definitions), "apply", "-f", "-"); got.Code != 0 {
		t.Fatal(got)
	}
	for _, name := range []string{"ingress.yaml", "ingressroute.yaml", "tlsstore.yaml", "gateway.yaml", "pod.yaml"} {
		t.Run(name, func(t *testing.T) {
			within := w.In(t)
			text := snippet(within, name)
			takes(within, text)
			wrong := strings.Replace(text, "\nspec:\n", "\nspec:\n  surplus: true\n", 1)
			if got := dryRun(within, wrong); got.Code == 0 || !got.Says(`unknown field "spec.surplus"`) {
				t.Errorf("a field that there is not is taken: %v", got)
			}
			named := secretsIn(within, text)
			if len(named) == 0 {
				t.Error("it names no Secret")
			}
			for _, secret := range named {
				if chain, key := within.InCluster("prod", "web", secret); len(chain) == 0 || len(key) == 0 {
					t.Errorf("it names the Secret %s, which anycert does not keep", secret)
				}
			}
		})
	}
}

func dryRun(w *world.World, manifest string) world.Result {
	w.T.Helper()
	return w.Kubectl("prod", manifest, "apply", "--dry-run=server", "--validate=strict", "-f", "-")
}

// takes waits for a kind to be served, which a definition is a moment after it was
// made.
func takes(w *world.World, manifest string) {
	w.T.Helper()
	var got world.Result
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if got = dryRun(w, manifest); got.Code == 0 {
			return
		}
		if !got.Says("no matches for kind") && !got.Says("could not find the requested resource") {
			break
		}
	}
	w.T.Error(got)
}

// secretsIn are the names of Secrets in a manifest: each secretName, and each
// certificateRefs' name.
func secretsIn(w *world.World, manifest string) (names []string) {
	w.T.Helper()
	var root any
	w.Must(yaml.Unmarshal([]byte(manifest), &root))
	var walk func(any)
	walk = func(node any) {
		switch node := node.(type) {
		case map[string]any:
			for key, value := range node {
				switch key {
				case "secretName":
					names = append(names, value.(string))
				case "certificateRefs":
					for _, reference := range value.([]any) {
						names = append(names, reference.(map[string]any)["name"].(string))
					}
				default:
					walk(value)
				}
			}
		case []any:
			for _, value := range node {
				walk(value)
			}
		}
	}
	walk(root)
	return names
}
