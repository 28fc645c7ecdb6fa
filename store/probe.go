package store

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/anycert/anycert"
)

// Access is what Probe has found.
type Access struct {
	Server  string            // version of Vault
	Life    time.Duration     // that the token had when it was looked at; 0: for ever
	Missing []Right           // of those asked about, with the capabilities that are not there
	Serving *x509.Certificate // what Vault itself shows for TLS; nil without TLS
}

// Probe tries everything that can be tried without reading a key or writing:
// whether Vault is there and unsealed, whether the login works, whether the mount
// is a KV version 2 secrets engine, and which of some rights the token has. A right
// that the policies give is there even if nothing was stored yet.
func (s *Store) Probe(ctx context.Context, rights []Right) (Access, error) {
	access, err := s.probe(ctx, rights)
	return access, s.wrap(err, "probing")
}

func (s *Store) probe(ctx context.Context, rights []Right) (Access, error) {
	server, err := s.vault.health(ctx)
	if err != nil {
		return Access{}, err
	}
	serving, err := s.vault.serving(ctx)
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
	missing, err := s.vault.missing(ctx, rights)
	if err != nil {
		return Access{}, err
	}
	return Access{Server: server, Life: using.life, Missing: missing, Serving: serving}, nil
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

// serving is the certificate of Vault's listener, or of what stands before it.
func (v *vault) serving(ctx context.Context) (*x509.Certificate, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodHead, v.address+"/v1/sys/health", nil)
	if err != nil {
		return nil, unavailable("its address is not one: %w", err)
	}
	request.Header.Set("User-Agent", v.userAgent)
	response, err := v.http.Do(request)
	if err != nil {
		return nil, networkFault(err)
	}
	defer response.Body.Close()
	if response.TLS == nil {
		return nil, nil
	}
	return response.TLS.PeerCertificates[0], nil
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

const capabilitiesSelf = "sys/capabilities-self"

// missing returns what of rights a token does not have
// (https://developer.hashicorp.com/vault/api-docs/system/capabilities-self).
func (v *vault) missing(ctx context.Context, rights []Right) (missing []Right, err error) {
	paths := []string{capabilitiesSelf} // an empty list is refused
	for _, right := range rights {
		paths = append(paths, right.Path)
	}
	got, err := v.call(ctx, request{
		method: http.MethodPut, path: capabilitiesSelf, capability: "update",
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
	for _, right := range rights {
		var given []string
		if json.Unmarshal(found.Data[right.Path], &given) == nil && slices.Contains(given, "root") {
			continue
		}
		right.Capabilities = slices.DeleteFunc(slices.Clone(right.Capabilities), func(c string) bool { return slices.Contains(given, c) })
		if len(right.Capabilities) > 0 {
			missing = append(missing, right)
		}
	}
	return missing, nil
}
