package kubeserver_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/kubeserver"
	"github.com/anycert/anycert/internal/testenv/parts"
)

// secretRules are the rights to keep one Secret.
var secretRules = []rbacv1.PolicyRule{
	{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"create"}},
	{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get", "patch"},
		ResourceNames: []string{"example-tls"}},
}

func TestLimitedUserAppliesItsSecretAlone(t *testing.T) {
	ctx, server := t.Context(), testenv.Kubernetes(t)
	if err := server.CreateNamespaces(ctx, "web", "api"); err != nil {
		t.Fatal(err)
	}
	token, err := server.Login(ctx, kubeserver.Account{Namespace: "web", Name: "anycert",
		Rules: map[string][]rbacv1.PolicyRule{"web": secretRules}})
	if err != nil {
		t.Fatal(err)
	}
	mark, err := server.Mark()
	if err != nil {
		t.Fatal(err)
	}
	client := server.ClientWith(token)
	if err := apply(t, client, "web", "example-tls"); err != nil {
		t.Error(err)
	}
	for namespace, name := range map[string]string{"web": "other-tls", "api": "example-tls"} {
		if err := apply(t, client, namespace, name); !apierrors.IsForbidden(err) {
			t.Errorf("applying %s/%s gave %v, want forbidden", namespace, name, err)
		}
	}
	if _, err := client.CoreV1().Secrets("web").List(ctx, metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("listing gave %v, want forbidden", err)
	}
	requests, err := server.Requests(mark)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{"patch secrets": 3, "list secrets": 1}
	if diff := cmp.Diff(want, kubeserver.Count(kubeserver.From("rig", requests))); diff != "" {
		t.Errorf("the audit log (-want +got):\n%s", diff)
	}
	if n := len(kubeserver.Writes(requests)); n != 3 {
		t.Errorf("%d writes, want 3", n)
	}
	if who := requests[0].User; who != "system:serviceaccount:web:anycert" {
		t.Errorf("the user is %q", who)
	}
}

func apply(t *testing.T, client kubernetes.Interface, namespace, name string) error {
	t.Helper()
	pair := testenv.Issue(t, certs.Options{})
	secret := applycorev1.Secret(name, namespace).WithType(corev1.SecretTypeTLS).
		WithData(map[string][]byte{"tls.crt": pair.ChainPEM, "tls.key": pair.KeyPEM})
	_, err := client.CoreV1().Secrets(namespace).Apply(t.Context(), secret,
		metav1.ApplyOptions{FieldManager: "rig", Force: true})
	return err
}

func TestTwoServersAndNamespacesThatVanish(t *testing.T) {
	ctx, one, two := t.Context(), testenv.Kubernetes(t), testenv.Kubernetes(t)
	if err := one.CreateNamespaces(ctx, "web"); err != nil {
		t.Fatal(err)
	}
	_, err := two.Client().CoreV1().Namespaces().Get(ctx, "web", metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("the other cluster's namespace: %v, want not found", err)
	}
	if err := apply(t, one.Client(), "web", "example-tls"); err != nil {
		t.Error(err)
	}
	if err := one.TerminateNamespace(ctx, "web"); err != nil {
		t.Fatal(err)
	}
	if err := apply(t, one.Client(), "web", "new-tls"); !apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		t.Errorf("a new Secret in a terminating namespace: %v", err)
	}
	if err := one.FinishNamespace(ctx, "web"); err != nil {
		t.Fatal(err)
	}
	_, err = one.Client().CoreV1().Namespaces().Get(ctx, "web", metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("the removed namespace: %v, want not found", err)
	}
}

func TestKubectlWithTheKubeconfig(t *testing.T) {
	server := testenv.Kubernetes(t)
	kubectl, err := parts.Find(parts.Kubectl)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), kubectl, "--kubeconfig", server.Kubeconfig, "version")
	cmd.Env = []string{"HOME=" + t.TempDir()}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Server Version: v1.35.4") {
		t.Errorf("kubectl version: %v\n%s", err, out)
	}
}
