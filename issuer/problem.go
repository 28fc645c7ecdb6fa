package issuer

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-acme/lego/v4/acme"

	"github.com/anycert/anycert/issuer/internal/redact"
)

// caError is what a CA or the way to it said, fit to be shown.
type caError struct {
	kind       string        // of RFC 8555, section 6.7, without its prefix; empty when it was no problem document
	status     int           // of HTTP; 0 when it was no problem document
	retryAfter time.Duration // that the CA asks for
	theirs     bool          // it failed on the CA's own side, or on the way there
	error
}

func (e *caError) Unwrap() error { return e.error }

// problem makes an error of lego's fit to be shown: bounded, in one line, the
// CA's words without the HTTP around them, and none of secrets.
func problem(err error, secrets ...string) error {
	if err == nil {
		return nil
	}
	r := redact.New(secrets...)
	details := new(acme.ProblemDetails)
	if !errors.As(err, &details) {
		return &caError{error: r.Error(err)}
	}
	kind := strings.TrimPrefix(r.Text(details.Type), "urn:ietf:params:acme:error:")
	return &caError{
		kind:   kind,
		status: details.HTTPStatus,
		theirs: details.HTTPStatus >= 500 || kind == "serverInternal" || kind == "badNonce", // lego tried that for 20 s
		error:  errors.New("the CA answers " + r.Text(words(details))),
	}
}

// problem also keeps the Retry-After of the answer, and whose fault it was that there
// is none.
func (b *bound) problem(err error, secrets ...string) error {
	if err == nil {
		return nil
	}
	if never := (uncounted{}); errors.As(err, &never) { // the request was not made
		return never
	}
	failure := problem(err, secrets...)
	told := failure.(*caError)
	details := new(acme.ProblemDetails)
	if errors.As(err, &details) {
		told.retryAfter = b.retryAfter(details.URL)
		return failure
	}
	if errors.As(err, new(mend)) || distrusted(err) {
		return mend{failure}
	}
	told.theirs = true
	return failure
}

// noDirectory is the problem of a directory that could not be read. Where something else
// than an ACME server answers, a person has to mend that, and another look costs nothing.
func (b *bound) noDirectory(address string, err error) error {
	failure := b.problem(err)
	b.mu.Lock()
	status := b.last
	b.mu.Unlock()
	answer := fmt.Sprintf("the answer has status %d", status)
	switch status {
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone:
	case http.StatusOK:
		if !notJSON(err) && !strings.HasPrefix(err.Error(), "directory missing") { // lego's words
			return failure // it broke off
		}
		answer += " and is something else"
	default:
		return failure
	}
	return early{mend{fmt.Errorf("%s is no ACME directory: %s: correct the directory of the issuer, or switch ACME on there (Vault: the PKI mount's config/acme)", address, answer)}}
}

func notJSON(err error) bool {
	return errors.As(err, new(*json.SyntaxError)) || errors.As(err, new(*json.UnmarshalTypeError))
}

// problem is that of the session's requests.
func (s *session) problem(err error, secrets ...string) error {
	return s.bound.problem(err, secrets...)
}

// distrusted reports whether the CA's own TLS certificate is one that no configured
// authority vouches for, or another host's.
func distrusted(err error) bool {
	return errors.As(err, new(x509.UnknownAuthorityError)) || errors.As(err, new(x509.HostnameError))
}

// words are the kind, the detail and the subproblems of a problem document.
func words(details *acme.ProblemDetails) string {
	var b strings.Builder
	b.WriteString(strings.TrimPrefix(details.Type, "urn:ietf:params:acme:error:"))
	if b.Len() == 0 {
		fmt.Fprintf(&b, "status %d", details.HTTPStatus)
	}
	if details.Detail != "" {
		b.WriteString(": " + details.Detail)
	}
	for _, sub := range details.SubProblems {
		fmt.Fprintf(&b, "; %s %s", sub.Identifier.Value, sub.Detail)
	}
	return b.String()
}

// isKind reports whether err holds a problem document of one of the kinds.
func isKind(err error, kinds ...string) bool {
	found := new(caError)
	return errors.As(err, &found) && found.kind != "" && slices.Contains(kinds, found.kind)
}

// isRefusal reports whether the CA understood the request and will not serve it,
// now or later (status 4xx), but for the request coming too often.
func isRefusal(err error) bool {
	found := new(caError)
	return errors.As(err, &found) && found.status >= 400 && found.status < 500 && found.kind != "rateLimited" && !found.theirs
}

// askedPause is the longest Retry-After within err.
func askedPause(err error) time.Duration {
	found := new(caError)
	if !errors.As(err, &found) {
		return 0
	}
	return found.retryAfter
}
