package issuer

import (
	"errors"
	"fmt"
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
	return &caError{
		kind:   strings.TrimPrefix(r.Text(details.Type), "urn:ietf:params:acme:error:"),
		status: details.HTTPStatus,
		error:  errors.New("the CA answers " + r.Text(words(details))),
	}
}

// problem also keeps the Retry-After of the answer.
func (s *session) problem(err error) error {
	failure := problem(err)
	if details := new(acme.ProblemDetails); errors.As(err, &details) {
		failure.(*caError).retryAfter = s.bound.retryAfter(details.URL)
	}
	return failure
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
	return errors.As(err, &found) && found.status >= 400 && found.status < 500 && found.kind != "rateLimited"
}

// askedPause is the longest Retry-After within err.
func askedPause(err error) time.Duration {
	found := new(caError)
	if !errors.As(err, &found) {
		return 0
	}
	return found.retryAfter
}
