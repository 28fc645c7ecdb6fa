package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/trusted"
)

// loginMethod logs in at auth/MOUNT/login with what credentials returns.
type loginMethod struct {
	mount       string
	credentials credentials
}

// credentials are what a method shows to Vault.
type credentials interface {
	// read returns the body of the login.
	read(ctx context.Context, v *vault) (map[string]string, error)
	// refused says that Vault did not accept it: read anew.
	refused()
}

func (m loginMethod) login(ctx context.Context, v *vault) (grant, error) {
	body, err := m.credentials.read(ctx, v)
	if err != nil {
		return grant{}, fmt.Errorf("logging in at auth/%s: %w", m.mount, err)
	}
	client, err := v.client("")
	if err != nil {
		return grant{}, err
	}
	given, err := v.grant(ctx, client, request{method: http.MethodPut, path: "auth/" + m.mount + "/login", body: body})
	if errors.Is(err, anycert.ErrForbidden) {
		m.credentials.refused()
	}
	given.ours = true
	return given, err
}

// grant sends a request whose answer is a token.
func (v *vault) grant(ctx context.Context, client *api.Client, r request) (grant, error) {
	r.grant = true
	got, err := v.send(ctx, client, r)
	if err != nil {
		return grant{}, err
	}
	var found struct {
		Auth *struct {
			Token     string `json:"client_token"`
			Life      int64  `json:"lease_duration"`
			Renewable bool   `json:"renewable"`
		} `json:"auth"`
	}
	if json.Unmarshal(got.body, &found) != nil || found.Auth == nil || found.Auth.Token == "" {
		return grant{}, fmt.Errorf("%w: what came back for %s is no token of Vault", anycert.ErrMalformed, r.path)
	}
	return grant{
		token:     anycert.NewSecret(found.Auth.Token),
		life:      time.Duration(found.Auth.Life) * time.Second,
		renewable: found.Auth.Renewable,
	}, nil
}

// givenToken is a token that somebody else obtained.
type givenToken struct{ source anycert.Credential }

// login looks how long the token lives. A token that may not look at itself is
// taken as it is. Older Vaults, and OpenBao, do not say whether it was the token that
// they refused: one that could look at itself before has ended.
func (g givenToken) login(ctx context.Context, v *vault) (grant, error) {
	if v.current != nil { // it has ended or was refused: there may be another
		g.source.Refused()
	}
	token, err := g.source.Secret(ctx)
	if err != nil {
		return grant{}, fmt.Errorf("reading the token for Vault: %w", err)
	}
	client, err := v.client(token.Reveal())
	if err != nil {
		return grant{}, err
	}
	got, err := v.send(ctx, client, lookupSelf)
	switch {
	case errors.Is(err, anycert.ErrForbidden) && v.current != nil && v.current.token.Reveal() == token.Reveal() && (v.unrenewed == nil || invalidToken(err)):
		return grant{}, fmt.Errorf("%w: Vault does not know the token, it has ended or was revoked: give another", anycert.ErrForbidden)
	case errors.Is(err, anycert.ErrForbidden):
		v.cannotRenew(err)
		return grant{token: token}, nil
	case err != nil:
		return grant{}, err
	}
	var found struct {
		Data *struct {
			TTL       int64 `json:"ttl"`
			Renewable bool  `json:"renewable"`
		} `json:"data"`
	}
	if json.Unmarshal(got.body, &found) != nil || found.Data == nil {
		return grant{}, fmt.Errorf("%w: what came back for %s is not Vault's answer: check the address", anycert.ErrMalformed, lookupSelf.path)
	}
	return grant{token: token, life: time.Duration(found.Data.TTL) * time.Second, renewable: found.Data.Renewable}, nil
}

// usualToken is where the vault command finds its token: VAULT_TOKEN, or what
// `vault login` left in ~/.vault-token.
type usualToken struct {
	getenv func(string) string
	home   string
}

func (u usualToken) Refused() {}

func (u usualToken) Secret(context.Context) (anycert.Secret, error) {
	if token := strings.TrimSpace(u.getenv("VAULT_TOKEN")); token != "" {
		return anycert.NewSecret(token), nil
	}
	if u.home == "" {
		return anycert.Secret{}, fmt.Errorf("%w: VAULT_TOKEN is not set: set it, or configure store.vault.auth", anycert.ErrForbidden)
	}
	path := filepath.Join(u.home, ".vault-token")
	text, err := trusted.Read(path, trusted.MaxCredential)
	switch {
	case errors.Is(err, anycert.ErrRefused), errors.Is(err, anycert.ErrMalformed):
		return anycert.Secret{}, fmt.Errorf("%w: %w", anycert.ErrForbidden, err)
	case err != nil:
		return anycert.Secret{}, fmt.Errorf("%w: VAULT_TOKEN is not set, and %s cannot be read: log in, or configure store.vault.auth", anycert.ErrForbidden, path)
	}
	return anycert.NewSecret(strings.TrimSpace(string(text))), nil
}
