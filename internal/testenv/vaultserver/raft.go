package vaultserver

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/vault/api"

	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/process"
)

// StartRaft starts Vault with raft storage and TLS in dir, initializes and
// unseals it, and mounts KV v2 at secret/. It takes some seconds.
func StartRaft(ctx context.Context, dir string, o Options) (*Server, error) {
	addr, err := process.FreeAddr()
	if err != nil {
		return nil, err
	}
	cluster, err := process.FreeAddr()
	if err != nil {
		return nil, err
	}
	s := &Server{Addr: "https://" + addr, dir: dir}
	if err := s.writeRaftConfig(addr, cluster); err != nil {
		return nil, fmt.Errorf("writing vault's config: %w", err)
	}
	if err := s.start(ctx, o); err != nil {
		return nil, err
	}
	if err := s.initialize(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Server) writeRaftConfig(addr, cluster string) error {
	ca, err := certs.NewCA()
	if err != nil {
		return err
	}
	pair, err := ca.Issue(certs.Options{Names: []string{"127.0.0.1", "localhost"}})
	if err != nil {
		return err
	}
	s.CAPEM, s.CAFile = ca.PEM(), filepath.Join(s.dir, "ca.pem")
	cert, key := filepath.Join(s.dir, "tls.crt"), filepath.Join(s.dir, "tls.key")
	config, data := filepath.Join(s.dir, "vault.hcl"), filepath.Join(s.dir, "raft")
	s.args = []string{"server", "-config=" + config}
	text := fmt.Sprintf(`
storage "raft" {
  path    = %q
  node_id = "one"
  performance_multiplier = 1
}
listener "tcp" {
  address         = %q
  cluster_address = %q
  tls_cert_file   = %q
  tls_key_file    = %q
}
api_addr      = %q
cluster_addr  = %q
disable_mlock = true
`, data, addr, cluster, cert, key, s.Addr, "https://"+cluster)
	if err := os.MkdirAll(data, 0o700); err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(s.CAFile, s.CAPEM, 0o600),
		os.WriteFile(cert, pair.ChainPEM, 0o600),
		os.WriteFile(key, pair.KeyPEM, 0o600),
		os.WriteFile(config, []byte(text), 0o600))
}

// initialize brings a new server from empty to ready.
func (s *Server) initialize(ctx context.Context) error {
	client := s.ClientWith("")
	err := s.process.WaitUntil(ctx, "listens", func(ctx context.Context) error {
		_, err := client.Sys().InitStatusWithContext(ctx)
		return err
	})
	if err != nil {
		return err
	}
	response, err := client.Sys().InitWithContext(ctx, &api.InitRequest{SecretShares: 1, SecretThreshold: 1})
	if err != nil {
		return fmt.Errorf("initializing vault: %w", err)
	}
	s.RootToken, s.unsealKey = response.RootToken, response.KeysB64[0]
	if err := s.Unseal(ctx); err != nil {
		return err
	}
	err = s.Client().Sys().MountWithContext(ctx, "secret",
		&api.MountInput{Type: "kv", Options: map[string]string{"version": "2"}})
	if err != nil {
		return fmt.Errorf("mounting secret/: %w", err)
	}
	// A new KV v2 answers 400 for a moment, while it is being upgraded.
	err = s.process.WaitUntil(ctx, "serves secret/", func(ctx context.Context) error {
		_, err := s.Client().Logical().ListWithContext(ctx, "secret/metadata/")
		return err
	})
	if err != nil {
		return err
	}
	return s.enableAudit(ctx)
}

// Seal seals the server: it answers 503 until Unseal. In raft mode only.
func (s *Server) Seal(ctx context.Context) error {
	if err := s.Client().Sys().SealWithContext(ctx); err != nil {
		return fmt.Errorf("sealing vault: %w", err)
	}
	return nil
}

// Unseal unseals the server and waits until it is active. In raft mode only.
func (s *Server) Unseal(ctx context.Context) error {
	if _, err := s.ClientWith("").Sys().UnsealWithContext(ctx, s.unsealKey); err != nil {
		return fmt.Errorf("unsealing vault: %w", err)
	}
	return s.WaitActive(ctx)
}

// Stop ends the server; its data and address stay for StartAgain.
func (s *Server) Stop() { s.process.Stop() }

// StartAgain starts a stopped server, which is then sealed. In raft mode only.
func (s *Server) StartAgain(ctx context.Context) error {
	if err := s.start(ctx, Options{Binary: s.binary}); err != nil {
		return err
	}
	return s.process.WaitUntil(ctx, "listens", func(ctx context.Context) error {
		_, err := s.ClientWith("").Sys().InitStatusWithContext(ctx)
		return err
	})
}

// Snapshot saves everything that Vault holds. In raft mode only.
func (s *Server) Snapshot(ctx context.Context) ([]byte, error) {
	var snapshot bytes.Buffer
	if err := s.Client().Sys().RaftSnapshotWithContext(ctx, &snapshot); err != nil {
		return nil, fmt.Errorf("saving a snapshot of vault: %w", err)
	}
	return snapshot.Bytes(), nil
}

// Restore brings Vault back to a snapshot of its own, and waits until it
// answers from it, about six seconds. In raft mode only.
func (s *Server) Restore(ctx context.Context, snapshot []byte) error {
	// Vault accepts a snapshot at once and restores it some time later. What
	// the snapshot does not hold is gone when that has happened.
	marker := "restoring-" + strings.ToLower(rand.Text())
	if err := s.WritePolicy(ctx, marker, `path "nothing" { capabilities = ["deny"] }`); err != nil {
		return err
	}
	client := s.Client()
	if err := client.Sys().RaftSnapshotRestoreWithContext(ctx, bytes.NewReader(snapshot), false); err != nil {
		return fmt.Errorf("restoring a snapshot of vault: %w", err)
	}
	return s.process.WaitUntil(ctx, "has restored the snapshot", func(ctx context.Context) error {
		policies, err := client.Sys().ListPoliciesWithContext(ctx)
		if err != nil {
			return err
		}
		if slices.Contains(policies, marker) {
			return errors.New("it still answers from before")
		}
		_, err = client.Logical().ListWithContext(ctx, "secret/metadata/")
		return err
	})
}

// transport trusts the server's CA, and goes through no proxy.
func (s *Server) transport() *http.Transport {
	if s.CAPEM == nil {
		return &http.Transport{}
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.CAPEM)
	return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
}
