package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/hashicorp/vault/api"

	"github.com/anycert/anycert"
)

const (
	timeout  = 15 * time.Second // for one request with its answer
	attempts = 3                // for a request that failed in a way that may pass
)

// vault talks to one Vault. It repeats what failed in passing, and logs in as
// needed. It is safe for concurrent use.
type vault struct {
	address   string
	namespace string
	userAgent string
	http      *http.Client
	pause     func(attempt int) time.Duration // between attempts
	now       func() time.Time

	sessions
}

// request is one call of Vault's API.
type request struct {
	method     string
	path       string // without /v1/
	query      url.Values
	body       any
	capability string // that a policy must give: named when Vault refuses
	grant      bool   // the answer is to be a token
}

type answer struct {
	body     []byte
	repeated bool // it was sent more than once; also told beside an error
}

// call sends a request under the token in force. A refusal that may be the token's
// fault is followed by one look at the token, and by one more try if there is a
// new one.
func (v *vault) call(ctx context.Context, r request) (answer, error) {
	using, err := v.session(ctx)
	if err != nil {
		return answer{}, err
	}
	got, err := v.send(ctx, using.client, r)
	if !errors.Is(err, anycert.ErrForbidden) {
		return got, err
	}
	renewed, doubt := v.doubt(ctx, using)
	switch {
	case doubt != nil:
		return got, doubt
	case renewed == nil:
		return got, err
	}
	return v.send(ctx, renewed.client, r)
}

// send sends a request, and again when it failed in a way that may pass.
func (v *vault) send(ctx context.Context, client *api.Client, r request) (answer, error) {
	for attempt := 1; ; attempt++ {
		body, err := once(ctx, client, r)
		got := answer{body: body, repeated: attempt > 1}
		if _, passing := errors.AsType[*transientError](err); !passing || attempt == attempts {
			return got, err
		}
		select {
		case <-time.After(v.pause(attempt)):
		case <-ctx.Done():
			return got, err
		}
	}
}

// backoff is about a quarter of a second, then a second.
func backoff(attempt int) time.Duration {
	base := 250 * time.Millisecond << (2 * (attempt - 1))
	return base/2 + rand.N(base)
}

// once sends a request once.
func once(ctx context.Context, client *api.Client, r request) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, ended(ctx)
	}
	response, err := dispatch(ctx, client, r)
	var body []byte
	if response != nil && response.Body != nil {
		defer response.Body.Close()
		var readErr error
		if body, readErr = io.ReadAll(response.Body); err == nil {
			err = readErr
		}
	}
	if err != nil {
		return nil, fault(ctx, r, body, err)
	}
	return body, nil
}

// dispatch calls the method of package api that fits. All but the patch give the
// answer as it came; a patch's answer is empty.
func dispatch(ctx context.Context, client *api.Client, r request) (*api.Response, error) {
	logical := client.Logical()
	switch r.method {
	case http.MethodGet:
		return logical.ReadRawWithDataWithContext(ctx, r.path, r.query)
	case http.MethodDelete:
		return logical.DeleteRawWithContext(ctx, r.path)
	case http.MethodPatch:
		change, ok := r.body.(map[string]any)
		if !ok {
			return nil, errors.New("a patch that is no object")
		}
		_, err := logical.JSONMergePatch(ctx, r.path, change)
		return nil, err
	}
	text, err := json.Marshal(r.body)
	if err != nil {
		return nil, errors.New("a body that cannot be written as JSON")
	}
	return logical.WriteRawWithContext(ctx, r.path, text)
}

// client makes a client for one token.
func (v *vault) client(token string) (*api.Client, error) {
	client, err := api.NewClient(&api.Config{
		Address:          v.address,
		HttpClient:       v.http,
		DisableRedirects: true,
	})
	if err != nil {
		// It reads VAULT_* itself and quotes what it dislikes.
		return nil, errors.New("the client for Vault cannot be made: look at the VAULT_ variables of the environment")
	}
	if strings.ContainsFunc(token, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return nil, fmt.Errorf("%w: the token for Vault holds characters that no token has", anycert.ErrMalformed)
	}
	// NewClient takes token and namespace from the environment, and VAULT_WRAP_TTL
	// would have every answer wrapped.
	client.SetToken(token)
	client.ClearNamespace()
	if v.namespace != "" {
		client.SetNamespace(v.namespace)
	}
	client.SetWrappingLookupFunc(func(string, string) string { return "" })
	client.AddHeader("User-Agent", v.userAgent)
	return client, nil
}
