package kubeserver

import (
	"context"
	"fmt"
	"maps"
	"slices"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// CreateNamespaces creates namespaces.
func (s *Server) CreateNamespaces(ctx context.Context, names ...string) error {
	for _, name := range names {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if _, err := s.Client().CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("creating the namespace %s: %w", name, err)
		}
	}
	return nil
}

// TerminateNamespace begins to delete a namespace. It stays in the phase
// Terminating, since the controller that would empty it does not run, until
// FinishNamespace.
func (s *Server) TerminateNamespace(ctx context.Context, name string) error {
	if err := s.Client().CoreV1().Namespaces().Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("deleting the namespace %s: %w", name, err)
	}
	return nil
}

// FinishNamespace empties a terminating namespace of Secrets and removes it.
func (s *Server) FinishNamespace(ctx context.Context, name string) error {
	core := s.Client().CoreV1()
	err := core.Secrets(name).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("removing the namespace %s: %w", name, err)
	}
	namespace, err := core.Namespaces().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("removing the namespace %s: %w", name, err)
	}
	namespace.Spec.Finalizers = nil
	if _, err := core.Namespaces().Finalize(ctx, namespace, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("removing the namespace %s: %w", name, err)
	}
	return nil
}

// Account is a service account and what it may do.
type Account struct {
	Namespace, Name string                         // the namespace must exist
	Rules           map[string][]rbacv1.PolicyRule // by namespace: a Role in each
	ClusterRules    []rbacv1.PolicyRule            // a ClusterRole
}

// Login makes a service account with just the rights of a, and returns a token
// of it that is good for an hour.
func (s *Server) Login(ctx context.Context, a Account) (token string, err error) {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: a.Name}}
	if _, err := s.Client().CoreV1().ServiceAccounts(a.Namespace).Create(ctx, account, metav1.CreateOptions{}); err != nil {
		return "", fmt.Errorf("making the service account %s/%s: %w", a.Namespace, a.Name, err)
	}
	if err := s.grant(ctx, a); err != nil {
		return "", fmt.Errorf("granting rights to %s/%s: %w", a.Namespace, a.Name, err)
	}
	return s.Token(ctx, a.Namespace, a.Name)
}

// Token returns a token of a service account that is there, good for an hour.
func (s *Server) Token(ctx context.Context, namespace, name string) (string, error) {
	seconds := int64(3600)
	request, err := s.Client().CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("making a token of %s/%s: %w", namespace, name, err)
	}
	return request.Status.Token, nil
}

func (s *Server) grant(ctx context.Context, a Account) error {
	rbac := s.Client().RbacV1()
	name := a.Namespace + "-" + a.Name
	meta := metav1.ObjectMeta{Name: name}
	who := []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: a.Namespace, Name: a.Name}}
	for _, namespace := range slices.Sorted(maps.Keys(a.Rules)) {
		role := &rbacv1.Role{ObjectMeta: meta, Rules: a.Rules[namespace]}
		if _, err := rbac.Roles(namespace).Create(ctx, role, metav1.CreateOptions{}); err != nil {
			return err
		}
		binding := &rbacv1.RoleBinding{ObjectMeta: meta, Subjects: who,
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name}}
		if _, err := rbac.RoleBindings(namespace).Create(ctx, binding, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	if len(a.ClusterRules) == 0 {
		return nil
	}
	role := &rbacv1.ClusterRole{ObjectMeta: meta, Rules: a.ClusterRules}
	if _, err := rbac.ClusterRoles().Create(ctx, role, metav1.CreateOptions{}); err != nil {
		return err
	}
	binding := &rbacv1.ClusterRoleBinding{ObjectMeta: meta, Subjects: who,
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name}}
	_, err := rbac.ClusterRoleBindings().Create(ctx, binding, metav1.CreateOptions{})
	return err
}

// Entry is one context of a kubeconfig.
type Entry struct {
	Context   string // its name, also of the cluster and the user
	Server    *Server
	Token     string
	Namespace string // optional
}

// WriteKubeconfig writes a kubeconfig with these contexts, of which the first
// is current.
func WriteKubeconfig(path string, entries ...Entry) error {
	config := clientcmdapi.NewConfig()
	for _, e := range entries {
		cluster, user, context := clientcmdapi.NewCluster(), clientcmdapi.NewAuthInfo(), clientcmdapi.NewContext()
		cluster.Server, cluster.CertificateAuthorityData = e.Server.Host, e.Server.CAPEM
		user.Token = e.Token
		context.Cluster, context.AuthInfo, context.Namespace = e.Context, e.Context, e.Namespace
		config.Clusters[e.Context], config.AuthInfos[e.Context], config.Contexts[e.Context] = cluster, user, context
		if config.CurrentContext == "" {
			config.CurrentContext = e.Context
		}
	}
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		return fmt.Errorf("writing a kubeconfig: %w", err)
	}
	return nil
}
