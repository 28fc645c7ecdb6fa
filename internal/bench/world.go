package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/kubeserver"
	"github.com/anycert/anycert/internal/testenv/vaultserver"
	"github.com/anycert/anycert/store"
)

// world is a Vault with n certificates and a cluster that is to serve them.
type world struct {
	dir    string
	config string
	n      int
	list   bool // the Secrets are listed, not read one by one
	vault  *vaultserver.Server
	kube   *kubeserver.Server
}

func newWorld(ctx context.Context, dir string, n int, list bool) (w *world, err error) {
	for _, name := range []string{"vault", "kubernetes", "files"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			return nil, err
		}
	}
	w = &world{dir: dir, config: filepath.Join(dir, "config.yaml"), n: n, list: list}
	if w.vault, err = vaultserver.StartDev(ctx, filepath.Join(dir, "vault"), vaultserver.Options{}); err != nil {
		return nil, err
	}
	if w.kube, err = kubeserver.Start(ctx, filepath.Join(dir, "kubernetes"), kubeserver.Options{}); err != nil {
		w.close()
		return nil, err
	}
	if err = w.kube.CreateNamespaces(ctx, "web"); err == nil {
		err = w.fill(ctx)
	}
	if err == nil {
		err = w.writeConfig()
	}
	if err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *world) close() {
	if w.kube != nil {
		w.kube.Close()
	}
	w.vault.Close()
}

func name(i int) string { return fmt.Sprintf("c%05d", i) }

// fill puts the certificates into Vault, as an issuer would.
func (w *world) fill(ctx context.Context) error {
	settings := store.Config{Address: w.vault.Addr}
	opened, err := settings.Open(store.Env{Getenv: w.environment, UserAgent: "bench"})
	if err != nil {
		return err
	}
	ca, err := certs.NewCA()
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for i := range w.n {
		group.Go(func() error {
			pair, err := ca.Issue(certs.Options{Names: []string{name(i) + ".example.com"}, Intermediate: true})
			if err != nil {
				return err
			}
			bundle, err := anycert.ParseBundle(pair.ChainPEM, pair.KeyPEM)
			if err != nil {
				return err
			}
			_, err = opened.Put(ctx, name(i), 0, bundle, anycert.Origin{})
			return err
		})
	}
	return group.Wait()
}

// environment is that of the program under measurement.
func (w *world) environment(key string) string {
	if key == "VAULT_TOKEN" {
		return w.vault.RootToken
	}
	return ""
}

// interval is that of the passes that are measured: longer than one takes.
func (w *world) interval() time.Duration {
	return max(10*time.Second, time.Duration(w.n)*10*time.Millisecond)
}

func (w *world) writeConfig() error {
	var text strings.Builder
	fmt.Fprintf(&text, "version: 1\nowner: bench\nstore: {vault: {address: %q}}\ncertificates:\n", w.vault.Addr)
	for i := range w.n {
		fmt.Fprintf(&text, "  - {name: %s, domains: [%s.example.com]}\n", name(i), name(i))
	}
	fmt.Fprintf(&text, `sinks:
  - name: prod
    type: kubernetes
    certificates: ["*"]
    config: {kubeconfig: %q, context: admin, namespaces: [web], list: %t, qps: 500, burst: 500}
  - name: files
    type: file
    certificates: ["*"]
    config: {dir: %q}
reconcile: {schedule: "@every %s"}
http: {listen: "127.0.0.1:0"}
`, w.kube.Kubeconfig, w.list, filepath.Join(w.dir, "files"), w.interval())
	return os.WriteFile(w.config, []byte(text.String()), 0o600)
}
