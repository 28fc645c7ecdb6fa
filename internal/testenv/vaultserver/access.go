package vaultserver

import (
	"context"
	"fmt"

	"github.com/hashicorp/vault/api"
)

// WritePolicy writes a policy in HCL.
func (s *Server) WritePolicy(ctx context.Context, name, hcl string) error {
	if err := s.Client().Sys().PutPolicyWithContext(ctx, name, hcl); err != nil {
		return fmt.Errorf("writing the policy %s: %w", name, err)
	}
	return nil
}

// Token makes a token that has just these policies, and default.
func (s *Server) Token(ctx context.Context, policies ...string) (string, error) {
	secret, err := s.Client().Auth().Token().CreateWithContext(ctx, &api.TokenCreateRequest{Policies: policies})
	if err != nil {
		return "", fmt.Errorf("making a token for the policies %v: %w", policies, err)
	}
	return secret.Auth.ClientToken, nil
}

// AppRole is what a machine logs in with.
type AppRole struct {
	RoleID, SecretID string
	WrappedSecretID  string // a second secret id, wrapped: good for one unwrapping within five minutes
}

// EnableAppRole enables auth/approle, once, and makes a role with policies.
// Tokens live for ttl, such as "2s" or "1h".
func (s *Server) EnableAppRole(ctx context.Context, role, ttl string, policies ...string) (AppRole, error) {
	client := s.Client()
	path := "auth/approle/role/" + role
	err := s.enableAuth(ctx, "approle")
	if err == nil {
		_, err = client.Logical().WriteWithContext(ctx, path,
			map[string]any{"token_policies": policies, "token_ttl": ttl})
	}
	if err != nil {
		return AppRole{}, fmt.Errorf("making the AppRole %s: %w", role, err)
	}
	id, err := client.Logical().ReadWithContext(ctx, path+"/role-id")
	if err != nil {
		return AppRole{}, fmt.Errorf("making the AppRole %s: %w", role, err)
	}
	secret, err := client.Logical().WriteWithContext(ctx, path+"/secret-id", nil)
	if err != nil {
		return AppRole{}, fmt.Errorf("making the AppRole %s: %w", role, err)
	}
	client.SetWrappingLookupFunc(func(string, string) string { return "5m" })
	wrapped, err := client.Logical().WriteWithContext(ctx, path+"/secret-id", nil)
	if err != nil {
		return AppRole{}, fmt.Errorf("making the AppRole %s: %w", role, err)
	}
	return AppRole{
		RoleID:          id.Data["role_id"].(string),
		SecretID:        secret.Data["secret_id"].(string),
		WrappedSecretID: wrapped.WrapInfo.Token,
	}, nil
}

// Kubernetes says which cluster asks and which service account may log in.
type Kubernetes struct {
	Host           string // URL of the kube-apiserver
	CAPEM          []byte // of the kube-apiserver
	ReviewerJWT    string // a token that may create TokenReviews
	ServiceAccount string
	Namespace      string
}

// EnableKubernetes enables auth/kubernetes, once, and makes a role.
func (s *Server) EnableKubernetes(ctx context.Context, role, ttl string, k Kubernetes, policies ...string) error {
	err := s.enableAuth(ctx, "kubernetes")
	if err == nil {
		_, err = s.Client().Logical().WriteWithContext(ctx, "auth/kubernetes/config", map[string]any{
			"kubernetes_host":      k.Host,
			"kubernetes_ca_cert":   string(k.CAPEM),
			"token_reviewer_jwt":   k.ReviewerJWT,
			"disable_local_ca_jwt": true,
		})
	}
	if err == nil {
		_, err = s.Client().Logical().WriteWithContext(ctx, "auth/kubernetes/role/"+role, map[string]any{
			"bound_service_account_names":      k.ServiceAccount,
			"bound_service_account_namespaces": k.Namespace,
			"token_policies":                   policies,
			"token_ttl":                        ttl,
		})
	}
	if err != nil {
		return fmt.Errorf("making the Kubernetes role %s: %w", role, err)
	}
	return nil
}

// enableAuth enables an auth method at its usual path unless it is there.
func (s *Server) enableAuth(ctx context.Context, kind string) error {
	mounts, err := s.Client().Sys().ListAuthWithContext(ctx)
	if err != nil {
		return err
	}
	if _, enabled := mounts[kind+"/"]; enabled {
		return nil
	}
	return s.Client().Sys().EnableAuthWithOptionsWithContext(ctx, kind, &api.EnableAuthOptions{Type: kind})
}
