package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/anycert/anycert/internal/testenv/acmeserver"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/dnsserver"
	"github.com/anycert/anycert/internal/testenv/kubeserver"
	"github.com/anycert/anycert/internal/testenv/parts"
	"github.com/anycert/anycert/internal/testenv/vaultserver"
	"github.com/anycert/anycert/sinks/fastly/fastlytest"
	"github.com/anycert/anycert/sinks/fly/flytest"
)

// What the far ends are called.
const (
	configuration = "tls-configuration-1"
	app           = "example-web"
	apiApp        = "example-api"
)

// Tokens of the stand-ins. They open nothing but these.
const (
	fastlyToken = "demo-fastly-token"
	flyToken    = "fm2_demo-fly-token"
)

// world is everything around anycert: the CA, the DNS server and the far ends.
type world struct {
	dir    string // for everything below
	config string // path of the configuration
	files  string // directory of the file sink

	ca     *acmeserver.Server
	dns    *dnsserver.Server
	fastly *fastlytest.Server
	fly    *flytest.Server
	vault  *vaultserver.Server // nil: the local store
	kube   *kubeserver.Server  // nil: no cluster
	// mischief issues what somebody careless puts at a target.
	mischief *certs.CA

	real, standIns, missing []string
	closers                 []func()
}

// newWorld starts everything and writes the configuration. With real, what is not
// built is an error.
func newWorld(ctx context.Context, dir string, real bool) (_ *world, err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700)); err != nil {
		return nil, err
	}
	w := &world{dir: dir, config: filepath.Join(dir, "config.yaml"), files: filepath.Join(dir, "nginx")}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	for _, start := range []func() error{
		w.startCA, w.startFastly, w.startFly,
		func() error { return w.startVault(ctx, real) },
		func() error { return w.startKubernetes(ctx, real) },
		w.writeConfig,
	} {
		if err := start(); err != nil {
			return nil, err
		}
	}
	return w, nil
}

func (w *world) close() {
	for i := len(w.closers) - 1; i >= 0; i-- {
		w.closers[i]()
	}
	w.closers = nil
}

func (w *world) startCA() (err error) {
	if w.dns, err = dnsserver.Start("example.com"); err != nil {
		return fmt.Errorf("starting the DNS server: %w", err)
	}
	w.closers = append(w.closers, w.dns.Close)
	if w.ca, err = acmeserver.Start(acmeserver.Options{Resolver: w.dns.Addr}); err != nil {
		return fmt.Errorf("starting the CA: %w", err)
	}
	w.closers = append(w.closers, w.ca.Close)
	w.mischief, err = certs.NewCA()
	w.real = append(w.real,
		"anycert, as it is shipped",
		"an ACME CA: Pebble, in process, refusing 5 % of good nonces on purpose",
		"a DNS server: authoritative for example.com, in process, with RFC 2136 updates",
		"files, as nginx would read them")
	return err
}

func (w *world) startFastly() (err error) {
	w.fastly, err = fastlytest.Start(fastlytest.Options{Token: fastlyToken, Configurations: []string{configuration}})
	if err != nil {
		return fmt.Errorf("starting the stand-in for Fastly: %w", err)
	}
	w.closers = append(w.closers, func() { _ = w.fastly.Close() })
	w.standIns = append(w.standIns, "Fastly: its API's certificates, keys and activations, as strict as the recorded exchanges")
	return nil
}

func (w *world) startFly() (err error) {
	w.fly, err = flytest.Start(flytest.Options{Apps: map[string]string{app: flyToken, apiApp: flyToken}, RateLimit: true})
	if err != nil {
		return fmt.Errorf("starting the stand-in for Fly.io: %w", err)
	}
	w.closers = append(w.closers, func() { _ = w.fly.Close() })
	w.fly.ConfirmOwnership(app, "example.com")
	w.fly.ConfirmOwnership(app, "*.example.com")
	w.fly.ConfirmOwnership(apiApp, "api.example.com")
	w.standIns = append(w.standIns, "Fly.io: its certificates API, with its rate limit")
	return nil
}

// startVault uses the vault on PATH or the one of the rig; else the local store.
func (w *world) startVault(ctx context.Context, real bool) error {
	binary, err := parts.Find(parts.Vault)
	if err != nil {
		binary, err = exec.LookPath("vault")
	}
	if err != nil {
		if real {
			return parts.ErrNotBuilt
		}
		w.standIns = append(w.standIns, "the store: anycert's local file instead of Vault")
		w.missing = append(w.missing, "Vault")
		return nil
	}
	dir := filepath.Join(w.dir, "vault")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if w.vault, err = vaultserver.StartDev(ctx, dir, vaultserver.Options{Binary: binary}); err != nil {
		return fmt.Errorf("starting Vault: %w", err)
	}
	w.closers = append(w.closers, w.vault.Close)
	w.real = append(w.real, "Vault, in dev mode")
	return nil
}

func (w *world) startKubernetes(ctx context.Context, real bool) error {
	_, apiErr := parts.Find(parts.KubeAPIServer)
	_, etcdErr := parts.Find(parts.Etcd)
	if err := errors.Join(apiErr, etcdErr); err != nil {
		if real {
			return parts.ErrNotBuilt
		}
		w.missing = append(w.missing, "kube-apiserver")
		return nil
	}
	dir := filepath.Join(w.dir, "kubernetes")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	var err error
	if w.kube, err = kubeserver.Start(ctx, dir, kubeserver.Options{}); err != nil {
		return fmt.Errorf("starting kube-apiserver: %w", err)
	}
	w.closers = append(w.closers, w.kube.Close)
	w.real = append(w.real, "kube-apiserver and etcd")
	return w.kube.CreateNamespaces(ctx, "web", "api")
}

// writes counts what anycert wrote to the far ends.
func (w *world) writes() int {
	n := w.fastly.Writes() + w.fly.Writes()
	if w.kube != nil {
		if requests, err := w.kube.Requests(0); err == nil {
			n += len(kubeserver.Writes(kubeserver.From("anycert", requests)))
		}
	}
	if w.vault != nil {
		if requests, err := w.vault.Requests(0); err == nil {
			n += len(vaultserver.Writes(requests))
		}
	}
	return n
}
