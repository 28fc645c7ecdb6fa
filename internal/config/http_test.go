package config_test

import (
	"fmt"
	"testing"
)

// What the file says about the status page reaches its gate.
func TestAccess(t *testing.T) {
	t.Setenv("KUBECONFIG", "testdata/kubeconfig")
	t.Setenv("STATUS_TOKEN", "0f3c1d5e7a9b2c4d6e8f\n")
	graph, err := load("testdata/good/two-clouds.yaml")
	if err != nil {
		t.Fatal(err)
	}
	access := graph.Access
	token, err := access.Token.Secret(t.Context())
	if err != nil || token.Reveal() != "0f3c1d5e7a9b2c4d6e8f" {
		t.Errorf("the token: %v", err)
	}
	if got := fmt.Sprint(access.ProxyHeader, access.Proxies, access.Hosts); got != "X-Forwarded-User[10.1.2.3/32 10.4.0.0/16 fd00::/8] [anycert.example.com anycert]" {
		t.Error(got)
	}
	if graph, err = load("testdata/good/least.yaml"); err != nil || graph.Access.Token != nil || graph.Access.ProxyHeader != "" {
		t.Errorf("nobody is asked: %+v, %v", graph.Access, err)
	}
}
