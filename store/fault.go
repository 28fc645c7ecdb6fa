package store

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"unicode"

	"github.com/hashicorp/vault/api"

	"github.com/anycert/anycert"
)

// transientError may pass within seconds; everything else is not tried again.
type transientError struct{ err error }

func (e *transientError) Error() string { return e.err.Error() }
func (e *transientError) Unwrap() error { return e.err }

func transient(format string, args ...any) error {
	return &transientError{fmt.Errorf("%w: "+format, append([]any{anycert.ErrUnavailable}, args...)...)}
}

func unavailable(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{anycert.ErrUnavailable}, args...)...)
}

// ended says that a context was cancelled or out of time.
func ended(ctx context.Context) error {
	return fmt.Errorf("%w: %w", anycert.ErrUnavailable, context.Cause(ctx))
}

// fault gives a failed request its meaning. Of what Vault says in its own words
// nothing is shown here but what is known by heart: a server may echo a request,
// and with it a key.
func fault(ctx context.Context, r request, body []byte, err error) error {
	if ctx.Err() != nil {
		return ended(ctx)
	}
	refusal, ok := errors.AsType[*api.ResponseError](err)
	if !ok {
		return networkFault(err)
	}
	said := strings.Join(refusal.Errors, " ")
	switch status := refusal.StatusCode; {
	case status == http.StatusForbidden && r.capability != "":
		refused := &refusedError{path: r.path, capability: r.capability, invalid: strings.Contains(said, "invalid token")}
		if r.capability == "list" {
			refused.path += "/" // as a policy has to name it
		}
		return refused
	case r.grant && status < 500 && status != http.StatusTooManyRequests && status != http.StatusPreconditionFailed:
		return fmt.Errorf("%w: Vault refuses %s with HTTP %d: %s", anycert.ErrForbidden, r.path, status, quote(refusal.Errors, r.body))
	case status == http.StatusForbidden:
		return fmt.Errorf("%w: Vault refuses %s", anycert.ErrForbidden, r.path)
	case status == http.StatusNotFound && strings.Contains(said, "no handler for route"):
		return unavailable("nothing is mounted in Vault where %s would be: enable a KV version 2 secrets engine there, or correct the mount", r.path)
	case status == http.StatusNotFound && deletedVersion(body):
		return anycert.ErrDeleted
	case status == http.StatusNotFound:
		return anycert.ErrNotFound
	case status == http.StatusBadRequest && strings.Contains(said, "check-and-set parameter did not match"):
		return anycert.ErrConflict
	case status == http.StatusBadRequest && strings.Contains(said, "Upgrading from non-versioned to versioned"):
		return transient("the secrets engine of %s is just being made", r.path)
	case status == http.StatusServiceUnavailable && strings.Contains(said, "Vault is sealed"):
		return unavailable("Vault is sealed: unseal it")
	case status == http.StatusTooManyRequests, status == http.StatusPreconditionFailed, status >= 500:
		return transient("Vault answered %s with HTTP %d", r.path, status)
	default:
		return fmt.Errorf("%w: Vault answered %s with HTTP %d", anycert.ErrMalformed, r.path, status)
	}
}

// refusedError is a refusal of Vault's policies, or of the token itself. Newer Vaults
// tell which.
type refusedError struct {
	path, capability string
	invalid          bool // it is the token
}

func (e *refusedError) Error() string {
	return fmt.Sprintf("%v: the token's policies lack %s on %s", anycert.ErrForbidden, e.capability, e.path)
}

func (e *refusedError) Unwrap() error { return anycert.ErrForbidden }

// invalidToken reports whether a refusal speaks of the token, not of its policies.
func invalidToken(err error) bool {
	refused, ok := errors.AsType[*refusedError](err)
	return ok && refused.invalid
}

// deletedVersion reports whether a 404 speaks of a version that was there once.
func deletedVersion(body []byte) bool {
	var found struct {
		Data struct {
			Metadata struct {
				Deletion  string `json:"deletion_time"`
				Destroyed bool   `json:"destroyed"`
			} `json:"metadata"`
		} `json:"data"`
	}
	return json.Unmarshal(body, &found) == nil && (found.Data.Metadata.Destroyed || found.Data.Metadata.Deletion != "")
}

// networkFault tells why there was no answer. The HTTP client quotes what it could
// not read, so its words are shown only where they are about the network.
func networkFault(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	if errors.Is(err, anycert.ErrUnavailable) || errors.Is(err, anycert.ErrMalformed) { // from guard
		return err
	}
	if untrusted, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		if invalid, ok := errors.AsType[x509.CertificateInvalidError](untrusted.Err); ok && invalid.Reason == x509.Expired {
			return unavailable("its certificate is not trusted (%w): renew it; if anycert keeps it, docs/runbook.md has the way out", untrusted.Err)
		}
		return unavailable("its certificate is not trusted (%w): name the CA in ca_cert or VAULT_CACERT", untrusted.Err)
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return unavailable("it does not speak TLS: use an http:// address if it is on this machine")
	}
	if timed, ok := errors.AsType[net.Error](err); ok && timed.Timeout() {
		return transient("no answer within %v", timeout)
	}
	if operation, ok := errors.AsType[*net.OpError](err); ok {
		return transient("%w", operation)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return transient("the connection was cut before the answer")
	}
	return transient("what came back is not HTTP")
}

// quote shows what Vault says about a login, which is where people need its words:
// a claim that does not match, a role that is not there. Words long enough to be a
// part of a key or token are left out, and all of it when it holds what was sent.
func quote(messages []string, body any) string {
	var words []string
	for _, word := range strings.Fields(strings.Join(messages, "; ")) {
		if len(word) > 24 || strings.ContainsFunc(word, func(r rune) bool { return !unicode.IsPrint(r) }) {
			word = "…"
		}
		words = append(words, word)
	}
	text := strings.Join(words, " ")
	sent, _ := body.(map[string]string)
	for field, secret := range sent {
		if field != "role" && secret != "" && strings.Contains(text, secret) {
			return "look at its role and mount"
		}
	}
	if text == "" {
		return "look at its role and mount"
	}
	if len(text) > 300 {
		text = text[:300] + "…"
	}
	return strings.ToValidUTF8(text, "")
}
