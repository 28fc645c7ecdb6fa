package kubernetes_test

import (
	"fmt"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/kubeserver"
	"github.com/anycert/anycert/sinks/kubernetes"
	"github.com/anycert/anycert/sinks/sinktest"
)

// in is a sink for one namespace, with a token.
func in(r *rig, namespace, token string) (*kubernetes.Sink, anycert.Target) {
	config := r.config()
	config.Namespaces = []string{namespace}
	sink := open(r.t, sinktest.Owner, config, &credential{token: token})
	return sink, targets(r.t, sink)[0]
}

func TestMissingNamespace(t *testing.T) {
	r := cluster(t)
	sink, target := in(r, "absent", r.AdminToken)
	if observe(t, sink, target).Found {
		t.Error("a Secret was found in a namespace that does not exist")
	}
	pair, _ := versions(t)
	err := sink.Push(t.Context(), target, pair.Entry, pair.Bundle)
	wants(t, err, nil, "absent/example-tls", "namespace absent does not exist", "kubectl create namespace absent")
	if orphans, err := sink.Orphans(t.Context(), nil); err != nil || len(orphans) > 0 {
		t.Errorf("Orphans returned (%+v, %v)", orphans, err)
	}
}

// With the rights of the page a namespace takes its Role with it.
func TestVanishingNamespace(t *testing.T) {
	r := cluster(t)
	pair, next := versions(t)
	for i, told := range []bool{false, true} {
		namespace := fmt.Sprintf("vanishing-%d", i)
		r.must(r.CreateNamespaces(t.Context(), namespace))
		r.grant([]string{namespace})
		if told {
			grantNamespace(r, namespace)
		}
		sink, target := in(r, namespace, r.token)
		mustPush(t, sink, target, pair)
		push := func() error { return sink.Push(t.Context(), target, next.Entry, next.Bundle) }

		r.must(r.TerminateNamespace(t.Context(), namespace))
		mustPush(t, sink, target, next) // what is there is still served, and kept
		r.must(r.Client().CoreV1().Secrets(namespace).Delete(t.Context(), "example-tls", metav1.DeleteOptions{}))
		if observe(t, sink, target).Found {
			t.Error("the Secret is found after it was deleted")
		}
		wants(t, push(), nil, target.Label, "namespace "+namespace+" is being deleted")

		r.revoke(namespace)
		_, err := sink.Observe(t.Context(), target)
		if told {
			wants(t, err, nil, "being deleted, and our rights with it")
		} else {
			wants(t, err, anycert.ErrForbidden, "or the namespace does not exist")
		}

		r.must(r.FinishNamespace(t.Context(), namespace))
		if !told {
			_, err = sink.Observe(t.Context(), target)
			wants(t, err, anycert.ErrForbidden, "or the namespace does not exist")
			continue
		}
		if observe(t, sink, target).Found {
			t.Error("a Secret was found in a namespace that is gone")
		}
		wants(t, push(), nil, "namespace "+namespace+" does not exist")
	}
}

// grantNamespace gives the account the page's rule for reading a namespace.
func grantNamespace(r *rig, namespace string) {
	r.t.Helper()
	rule := r.rule("namespaces", "get")
	rule.ResourceNames = []string{namespace}
	meta := metav1.ObjectMeta{Name: namespace}
	r.t.Cleanup(func() {
		r.must(r.Client().RbacV1().ClusterRoleBindings().Delete(r.ctx(), namespace, metav1.DeleteOptions{}))
		r.must(r.Client().RbacV1().ClusterRoles().Delete(r.ctx(), namespace, metav1.DeleteOptions{}))
	})
	_, err := r.Client().RbacV1().ClusterRoles().Create(r.ctx(), &rbacv1.ClusterRole{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{rule}}, metav1.CreateOptions{})
	r.must(err)
	_, err = r.Client().RbacV1().ClusterRoleBindings().Create(r.ctx(), &rbacv1.ClusterRoleBinding{ObjectMeta: meta,
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "anycert", Name: "anycert"}},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: namespace}}, metav1.CreateOptions{})
	r.must(err)
}

func TestTwoClusters(t *testing.T) {
	one, two := cluster(t), testenv.Kubernetes(t)
	one.must(two.CreateNamespaces(t.Context(), "web"))
	path := one.write("kubeconfig", nil)
	one.must(kubeserver.WriteKubeconfig(path,
		kubeserver.Entry{Context: "one", Server: one.Server, Token: one.AdminToken},
		kubeserver.Entry{Context: "two", Server: two, Token: two.AdminToken, Namespace: "default"},
		kubeserver.Entry{Context: "one-again", Server: one.Server, Token: one.AdminToken, Namespace: "api"}))
	keys := map[string]string{}
	pairs := map[string]sinktest.Pair{}
	for _, context := range []string{"one", "two", "one-again"} {
		sink := one.open(sinktest.Owner, kubernetes.Config{Kubeconfig: path, Context: context, Namespaces: []string{"web"}})
		target := targets(t, sink)[0]
		keys[context] = target.Key
		pairs[context], _ = versions(t)
		mustPush(t, sink, target, pairs[context])
	}
	if keys["one"] != keys["one-again"] || keys["one"] == keys["two"] || !strings.HasPrefix(keys["one"], "k8s://127.0.0.1:") {
		t.Errorf("the keys are %v, want the same for one and one-again alone", keys)
	}
	if got := string(one.get("web", "example-tls").Data["tls.crt"]); got != string(pairs["one-again"].Bundle.FullChainPEM()) {
		t.Error("the first cluster does not hold what was pushed there last")
	}
	other := &rig{Server: two, t: t}
	if got := string(other.get("web", "example-tls").Data["tls.crt"]); got != string(pairs["two"].Bundle.FullChainPEM()) {
		t.Error("the second cluster does not hold what was pushed there")
	}
}
