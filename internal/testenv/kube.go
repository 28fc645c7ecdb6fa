package testenv

import (
	"context"
	"testing"

	"github.com/anycert/anycert/internal/testenv/kubeserver"
)

// Kubernetes starts a kube-apiserver for the length of the test.
func Kubernetes(t testing.TB) *kubeserver.Server {
	t.Helper()
	server, err := kubeserver.Start(context.Background(), t.TempDir(), kubeserver.Options{})
	if err != nil {
		fatal(t, "kube-apiserver", err)
	}
	t.Cleanup(server.Close)
	return server
}
