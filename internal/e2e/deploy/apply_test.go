//go:build linux

package deploy

import (
	"fmt"
	"iter"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/anycert/anycert/internal/testenv/world"
)

// A real API server takes what the chart renders, with no field that it does not know;
// a release can be installed, upgraded to anything else and taken away; and its pods
// are admitted under the Pod Security Standard "restricted".
func TestChartOnARealAPIServer(t *testing.T) {
	w := world.New(t, world.Options{Clusters: []string{"hub"}})
	prepareCluster(w)
	for _, set := range []string{"follower", "hub", "existing", "page"} {
		rendered := w.Helm("template", "anycert", chart(w), "--namespace", "anycert", "--values", values(w, set))
		must(t, rendered)
		applied := w.Kubectl("hub", rendered.Stdout, "apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-")
		must(t, applied)
		if strings.Contains(applied.Stderr, "Warning") {
			t.Errorf("values %q: %s", set, applied.Stderr)
		}
	}
	release := func(verb ...string) (notes string) {
		t.Helper()
		result := w.Helm(append(verb, "--namespace", "anycert", "--kubeconfig", w.Clusters["hub"].Kubeconfig)...)
		must(t, result)
		if strings.Contains(result.Stderr, "warn") || strings.Contains(result.Stderr, "W1") {
			t.Errorf("helm %s warns: %s", verb[0], result.Stderr)
		}
		return result.Stdout
	}
	release("install", "anycert", chart(w), "--values", values(w, "follower"))
	isAdmitted(w, "anycert")
	release("upgrade", "anycert", chart(w), "--values", values(w, "hub"))
	isAdmitted(w, "anycert")
	notes := release("upgrade", "anycert", chart(w), "--values", values(w, "page"))
	if want := `get secret anycert-page -o go-template='{{index .data "status" | base64decode}}'`; !strings.Contains(notes, want) {
		t.Errorf("helm does not say %s:\n%s", want, notes)
	}
	isAdmitted(w, "anycert")
	release("rollback", "anycert", "1")
	release("upgrade", "anycert", chart(w), "--values", values(w, "existing"))
	isAdmitted(w, "certificates")
	release("uninstall", "anycert")
	left, err := w.Clusters["hub"].Client().RbacV1().Roles("web").List(t.Context(), metav1.ListOptions{})
	w.Must(err)
	if len(left.Items) != 0 {
		t.Errorf("uninstalling leaves the Role %s", left.Items[0].Name)
	}
}

// The test above could not fail for a pod that may do more.
func TestRestrictedIsEnforced(t *testing.T) {
	w := world.New(t, world.Options{Clusters: []string{"hub"}})
	prepareCluster(w)
	must(t, w.Helm("install", "anycert", chart(w), "--namespace", "anycert", "--kubeconfig", w.Clusters["hub"].Kubeconfig, "--values", values(w, "follower")))
	k := newKubelet(w, "hub")
	deployment, err := k.api.AppsV1().Deployments("anycert").Get(t.Context(), "anycert", metav1.GetOptions{})
	w.Must(err)
	deployment.Spec.Template.Spec.Containers[0].SecurityContext.Capabilities = nil
	if _, err := k.admit(deployment); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "unrestricted capabilities") {
		t.Errorf("a pod that keeps its capabilities: %v", err)
	}
}

// The chart's Roles grant what `anycert policy` prints for the cluster that the pod is
// in, and not one verb more or less.
func TestRolesGrantWhatPolicyPrints(t *testing.T) {
	w := world.New(t, world.Options{})
	for role, parts := range map[string]string{"follower": "here", "hub": "here,here-too,old"} {
		rendered := w.Helm("template", "anycert", chart(w), "--namespace", "anycert", "--values", values(w, role), "--set-json", "rbac.secrets=null")
		must(t, rendered)
		var config corev1.ConfigMap
		for text := range objects(rendered.Stdout, "ConfigMap") {
			w.Must(yaml.UnmarshalStrict([]byte(text), &config))
		}
		printed := w.Run(w.File(role+".yaml", config.Data["config.yaml"]), "policy", role, "--only", parts)
		must(t, printed)
		want, got := granted(w, printed.Stdout), granted(w, rendered.Stdout)
		if diff := cmp.Diff(want, got); diff != "" || len(want) == 0 {
			t.Errorf("%s (-policy +chart):\n%s", role, diff)
		}
	}
}

// granted lists all that the Roles of a text in YAML allow.
func granted(w *world.World, text string) map[string]bool {
	w.T.Helper()
	all := map[string]bool{}
	for text := range objects(text, "Role") {
		var role rbacv1.Role
		w.Must(yaml.UnmarshalStrict([]byte(text), &role))
		for _, rule := range role.Rules {
			names := rule.ResourceNames
			if len(names) == 0 {
				names = []string{"*"}
			}
			for _, verb := range rule.Verbs {
				for _, name := range names {
					all[fmt.Sprintf("%s %v %s/%s", verb, rule.Resources, role.Namespace, name)] = true
				}
			}
		}
	}
	return all
}

// objects are those of a kind in a text with several.
func objects(text, kind string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for object := range strings.SplitSeq(text, "---\n") {
			if strings.Contains(object, "\nkind: "+kind+"\n") && !yield(object) {
				return
			}
		}
	}
}

// prepareCluster makes the namespaces of the values' sets and the kinds of the
// Prometheus operator.
func prepareCluster(w *world.World) {
	w.T.Helper()
	w.Must(w.Clusters["hub"].CreateNamespaces(w.T.Context(), "anycert", "web", "api", "shop", "other", "legacy"))
	must(w.T, w.Kubectl("hub", "", "label", "namespace", "anycert", "pod-security.kubernetes.io/enforce=restricted", "pod-security.kubernetes.io/warn=restricted"))
	must(w.T, w.Kubectl("hub", "", "apply", "-f", filepath.Join(w.Checkout, "internal/e2e/deploy/testdata/monitoring.yaml")))
	must(w.T, w.Kubectl("hub", "", "wait", "--for=condition=Established", "crd", "--all"))
}

func chart(w *world.World) string { return filepath.Join(w.Checkout, "deploy/chart") }

func values(w *world.World, set string) string {
	return filepath.Join(w.Checkout, "internal/e2e/deploy/chart/testdata", set+".yaml")
}

func must(t *testing.T, r world.Result) {
	t.Helper()
	if r.Code != 0 {
		t.Fatal(r)
	}
}

// isAdmitted expects that the namespace takes the pods of a Deployment.
func isAdmitted(w *world.World, deployment string) {
	w.T.Helper()
	k := newKubelet(w, "hub")
	d, err := k.api.AppsV1().Deployments("anycert").Get(w.T.Context(), deployment, metav1.GetOptions{})
	w.Must(err)
	pod, err := k.admit(d)
	w.Must(err)
	w.Must(k.api.CoreV1().Pods("anycert").Delete(w.T.Context(), pod.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)}))
}
