package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/trusted"
)

// appRole shows a role id and a secret id
// (https://developer.hashicorp.com/vault/api-docs/auth/approle#login-with-approle).
type appRole struct {
	roleID   string
	secretID anycert.Credential
	wrapped  bool

	mu        sync.Mutex
	wrapping  string         // the wrapping token that was opened last
	unwrapped anycert.Secret // what was in it; it can be opened once only
}

func (a *appRole) read(ctx context.Context, v *vault) (map[string]string, error) {
	secret, err := a.secretID.Secret(ctx)
	if err == nil && a.wrapped {
		secret, err = a.unwrap(ctx, v, secret)
	}
	if err != nil {
		return nil, fmt.Errorf("the secret id: %w", err)
	}
	return map[string]string{"role_id": a.roleID, "secret_id": secret.Reveal()}, nil
}

func (a *appRole) refused() { a.secretID.Refused() }

// unwrap opens a wrapping token, or returns what the same one held before.
func (a *appRole) unwrap(ctx context.Context, v *vault, wrapping anycert.Secret) (anycert.Secret, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.wrapping == wrapping.Reveal() && !a.unwrapped.IsZero() {
		return a.unwrapped, nil
	}
	client, err := v.client(wrapping.Reveal())
	if err != nil {
		return anycert.Secret{}, err
	}
	got, err := v.send(ctx, client, request{method: http.MethodPut, path: "sys/wrapping/unwrap", body: map[string]string{}})
	if errors.Is(err, anycert.ErrUnavailable) {
		return anycert.Secret{}, err
	}
	if err != nil {
		return anycert.Secret{}, fmt.Errorf("%w: the wrapping token has ended or was opened before: make a new one, and find out who opened it if it was not this process before a restart", anycert.ErrForbidden)
	}
	var found struct {
		Data struct {
			SecretID string `json:"secret_id"`
		} `json:"data"`
	}
	if json.Unmarshal(got.body, &found) != nil || found.Data.SecretID == "" {
		return anycert.Secret{}, fmt.Errorf("%w: there is no secret id in what was wrapped", anycert.ErrMalformed)
	}
	a.wrapping, a.unwrapped = wrapping.Reveal(), anycert.NewSecret(found.Data.SecretID)
	return a.unwrapped, nil
}

// roleToken shows a role and a JWT: the methods jwt, kubernetes and gcp, which
// differ in where the JWT comes from.
type roleToken struct {
	role string
	jwt  anycert.Credential
}

func (r roleToken) read(ctx context.Context, _ *vault) (map[string]string, error) {
	jwt, err := r.jwt.Secret(ctx)
	if err != nil {
		return nil, err
	}
	return map[string]string{"role": r.role, "jwt": jwt.Reveal()}, nil
}

func (r roleToken) refused() { r.jwt.Refused() }

// tokenFile is the token of a Kubernetes service account. The kubelet writes a new
// one every hour, so it is read for each login.
type tokenFile string

func (f tokenFile) Refused() {}

func (f tokenFile) Secret(context.Context) (anycert.Secret, error) {
	text, err := trusted.Read(string(f), trusted.MaxCredential)
	if err != nil {
		return anycert.Secret{}, fmt.Errorf("%w: reading the service account's token: %w", anycert.ErrForbidden, err)
	}
	return anycert.NewSecret(strings.TrimSpace(string(text))), nil
}

const (
	metadataHost    = "metadata.google.internal"
	metadataPath    = "/computeMetadata/v1/instance/service-accounts/default/identity"
	metadataTimeout = 5 * time.Second
	maxIdentity     = 16 << 10 // bytes of an identity token
)

// identity is the identity token of a Google Cloud service account, from the
// metadata server
// (https://cloud.google.com/compute/docs/instances/verifying-instance-identity).
type identity struct {
	host string
	role string
}

func (i identity) Refused() {}

func (i identity) Secret(ctx context.Context) (anycert.Secret, error) {
	ctx, cancel := context.WithTimeout(ctx, metadataTimeout)
	defer cancel()
	address := url.URL{
		Scheme: "http", Host: i.host, Path: metadataPath,
		RawQuery: url.Values{"audience": {"vault/" + i.role}, "format": {"full"}}.Encode(),
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return anycert.Secret{}, fmt.Errorf("%w: the host %q of the metadata server is none", anycert.ErrMalformed, i.host)
	}
	r.Header.Set("Metadata-Flavor", "Google")
	client := &http.Client{
		// No proxy: the answer is a credential.
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(r)
	if err != nil {
		return anycert.Secret{}, fmt.Errorf("asking the metadata server %s: %w", i.host, networkFault(err))
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxIdentity+1))
	switch {
	case err != nil:
		return anycert.Secret{}, fmt.Errorf("asking the metadata server %s: %w", i.host, networkFault(err))
	case response.StatusCode != http.StatusOK:
		return anycert.Secret{}, unavailable("the metadata server %s answered HTTP %d: does this machine have a service account?", i.host, response.StatusCode)
	case response.Header.Get("Metadata-Flavor") != "Google" || len(text) > maxIdentity || strings.Count(string(text), ".") != 2:
		return anycert.Secret{}, fmt.Errorf("%w: what answers at %s is not the metadata server", anycert.ErrMalformed, i.host)
	}
	return anycert.NewSecret(strings.TrimSpace(string(text))), nil
}
