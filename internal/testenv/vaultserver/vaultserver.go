// Package vaultserver runs the real Vault for tests and for the demo, in one of
// two ways: StartDev, in memory and ready in a tenth of a second, and
// StartRaft, on disk and over TLS, for all that concerns seals, restarts and
// snapshots. Both have KV v2 at secret/ and an audit log that can be counted.
package vaultserver

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/anycert/anycert/internal/testenv/parts"
	"github.com/anycert/anycert/internal/testenv/process"
)

// Server is a running Vault. Its methods may be called by several goroutines
// at once, but for those that stop or start it.
type Server struct {
	Addr      string // URL
	RootToken string
	CAPEM     []byte // what to trust over TLS; nil in dev mode
	CAFile    string // the same, in a file; empty in dev mode

	dir       string
	binary    string
	args      []string
	process   *process.Process
	unsealKey string // empty in dev mode
}

// Options vary how a server is started. The zero value serves most tests.
type Options struct {
	Binary string // default: the one that `make rig` built
}

// StartDev starts Vault in dev mode, with its files in dir.
func StartDev(ctx context.Context, dir string, o Options) (*Server, error) {
	addr, err := process.FreeAddr()
	if err != nil {
		return nil, err
	}
	const token = "root-token-of-the-rig"
	s := &Server{
		Addr:      "http://" + addr,
		RootToken: token,
		dir:       dir,
		args: []string{"server", "-dev", "-dev-root-token-id=" + token,
			"-dev-listen-address=" + addr, "-dev-no-store-token"},
	}
	if err := s.start(ctx, o); err != nil {
		return nil, err
	}
	if err := s.WaitActive(ctx); err != nil {
		s.Close()
		return nil, err
	}
	if err := s.enableAudit(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// start runs the binary with s.args.
func (s *Server) start(_ context.Context, o Options) error {
	s.binary = o.Binary
	if s.binary == "" {
		var err error
		if s.binary, err = parts.Find(parts.Vault); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("starting vault: %w", err)
	}
	var err error
	s.process, err = process.Start(process.Spec{Name: "vault", Path: s.binary, Args: s.args, Dir: s.dir})
	return err
}

// Close ends the server.
func (s *Server) Close() { s.process.Stop() }

// PID returns the server's process id.
func (s *Server) PID() int { return s.process.PID() }

// Client returns a client with the root token.
func (s *Server) Client() *api.Client { return s.ClientWith(s.RootToken) }

// ClientWith returns a client with a token, which may be empty. It does not
// repeat failed requests, and what the environment says of Vault is ignored.
func (s *Server) ClientWith(token string) *api.Client {
	config := &api.Config{
		Address:    s.Addr,
		HttpClient: &http.Client{Transport: s.transport(), Timeout: 30 * time.Second},
		MaxRetries: 0,
	}
	client, err := api.NewClient(config)
	if err != nil {
		// The address and the transport are ours: there is nothing to fail.
		panic(fmt.Sprintf("vaultserver: making a client: %v", err))
	}
	client.ClearNamespace()
	client.SetToken(token)
	return client
}

// WaitActive waits until the server is unsealed and leads.
func (s *Server) WaitActive(ctx context.Context) error {
	return s.process.WaitUntil(ctx, "is active", func(ctx context.Context) error {
		health, err := s.ClientWith("").Sys().HealthWithContext(ctx)
		if err != nil {
			return err
		}
		if !health.Initialized || health.Sealed || health.Standby {
			return fmt.Errorf("initialized %t, sealed %t, standby %t", health.Initialized, health.Sealed, health.Standby)
		}
		return nil
	})
}

func (s *Server) auditFile() string { return filepath.Join(s.dir, "audit.log") }

func (s *Server) enableAudit(ctx context.Context) error {
	err := s.Client().Sys().EnableAuditWithOptionsWithContext(ctx, "file", &api.EnableAuditOptions{
		Type:    "file",
		Options: map[string]string{"file_path": s.auditFile()},
	})
	if err != nil {
		return fmt.Errorf("enabling vault's audit log: %w", err)
	}
	return nil
}
