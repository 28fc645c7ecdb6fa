package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/anycert/anycert"
)

// Access is what a token may do, as Probe has found.
type Access struct {
	Server       string            // version of Vault
	Life         time.Duration     // that the token had when it was looked at; 0: for ever
	List         bool              // Names
	Records      bool              // orders and accounts: what an issuer needs
	Certificates map[string]Rights // by name
}

// Rights are what a token may do with one certificate. A right that the policies
// give is there even if nothing was stored yet.
type Rights struct {
	Stat  bool // what audit and status need
	Get   bool // what sync and pull need
	Put   bool // what an issuer needs
	Index bool // what lets hand-written entries be looked at
}

// Probe tries everything that can be tried without reading a key or writing:
// whether Vault is there and unsealed, whether the login works, whether the mount
// is a KV version 2 secrets engine, and what the token may do with the
// certificates named.
func (s *Store) Probe(ctx context.Context, names ...string) (Access, error) {
	access, err := s.probe(ctx, names)
	return access, s.wrap(err, "probing")
}

func (s *Store) probe(ctx context.Context, names []string) (Access, error) {
	server, err := s.vault.health(ctx)
	if err != nil {
		return Access{}, err
	}
	using, err := s.vault.session(ctx)
	if err != nil {
		return Access{}, err
	}
	if err := s.vault.checkMount(ctx, s.mount); err != nil {
		return Access{}, err
	}
	may, err := s.vault.capabilities(ctx, s.probePaths(names))
	if err != nil {
		return Access{}, err
	}
	access := Access{
		Server: server, Life: using.life, Certificates: make(map[string]Rights),
		List:    may(s.path(certsKind, "").metadata(), "list"),
		Records: true,
	}
	for _, kind := range []string{anycert.KindOrder, anycert.KindAccount} {
		path := s.path(kind, "probe")
		access.Records = access.Records && may(path.data(), "read", "create", "update") && may(path.metadata(), "delete")
	}
	for _, name := range names {
		path := s.path(certsKind, name)
		index := may(path.metadata(), "read", "patch")
		access.Certificates[name] = Rights{
			Stat:  may(path.metadata(), "read"),
			Get:   may(path.data(), "read"),
			Put:   may(path.data(), "create", "update") && index,
			Index: may(path.data(), "read") && index,
		}
	}
	return access, nil
}

func (s *Store) probePaths(names []string) []string {
	paths := []string{s.path(certsKind, "").metadata()}
	for _, kind := range []string{anycert.KindOrder, anycert.KindAccount} {
		paths = append(paths, s.path(kind, "probe").data(), s.path(kind, "probe").metadata())
	}
	for _, name := range names {
		paths = append(paths, s.path(certsKind, name).data(), s.path(certsKind, name).metadata())
	}
	return paths
}

// health needs no token
// (https://developer.hashicorp.com/vault/api-docs/system/health).
func (v *vault) health(ctx context.Context) (version string, err error) {
	client, err := v.client("")
	if err != nil {
		return "", err
	}
	// Every state that is told is told with 200.
	query := url.Values{}
	for _, code := range []string{"standbycode", "perfstandbycode", "drsecondarycode", "sealedcode", "uninitcode"} {
		query.Set(code, "200")
	}
	got, err := v.send(ctx, client, request{method: http.MethodGet, path: "sys/health", query: query})
	if err != nil {
		return "", err
	}
	var found struct {
		Initialized *bool  `json:"initialized"`
		Sealed      bool   `json:"sealed"`
		Version     string `json:"version"`
	}
	switch {
	case json.Unmarshal(got.body, &found) != nil || found.Initialized == nil:
		return "", fmt.Errorf("%w: what answers there is not Vault", anycert.ErrMalformed)
	case !*found.Initialized:
		return "", unavailable("Vault is not initialized yet")
	case found.Sealed:
		return "", unavailable("Vault is sealed: unseal it")
	}
	return found.Version, nil
}

// checkMount finds out which secrets engine there is. Vault tells that to whoever
// may do anything below it.
func (v *vault) checkMount(ctx context.Context, mount string) error {
	got, err := v.call(ctx, request{method: http.MethodGet, path: "sys/internal/ui/mounts/" + mount, capability: "anything"})
	if errors.Is(err, anycert.ErrForbidden) {
		return fmt.Errorf("%w: the token may do nothing at %s/, or nothing is mounted there", anycert.ErrForbidden, mount)
	}
	if err != nil {
		return err
	}
	var found struct {
		Data struct {
			Type    string            `json:"type"`
			Options map[string]string `json:"options"`
		} `json:"data"`
	}
	if json.Unmarshal(got.body, &found) != nil || found.Data.Type != "kv" || found.Data.Options["version"] != "2" {
		return fmt.Errorf("%w: %s/ is not a KV version 2 secrets engine: enable one with `vault secrets enable -path=%s -version=2 kv`, or correct the mount",
			anycert.ErrMalformed, mount, mount)
	}
	return nil
}

// capabilities returns whether a token may do something
// (https://developer.hashicorp.com/vault/api-docs/system/capabilities-self).
func (v *vault) capabilities(ctx context.Context, paths []string) (may func(path string, capabilities ...string) bool, err error) {
	got, err := v.call(ctx, request{
		method: http.MethodPut, path: "sys/capabilities-self", capability: "update",
		body: map[string][]string{"paths": paths},
	})
	if err != nil {
		return nil, err
	}
	var found struct {
		Data map[string]json.RawMessage `json:"data"`
	}
	if json.Unmarshal(got.body, &found) != nil || found.Data == nil {
		return nil, fmt.Errorf("%w: what answers there is not Vault", anycert.ErrMalformed)
	}
	return func(path string, capabilities ...string) bool {
		var given []string
		if json.Unmarshal(found.Data[path], &given) != nil {
			return false
		}
		for _, needed := range capabilities {
			if !slices.Contains(given, needed) && !slices.Contains(given, "root") {
				return false
			}
		}
		return true
	}, nil
}
