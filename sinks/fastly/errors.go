package fastly

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/fastly/go-fastly/v9/fastly"

	"github.com/anycert/anycert"
)

// limitError says that no writes are left in this hour.
type limitError struct{ until time.Time }

func (e *limitError) Error() string {
	text := "Fastly's limit of writes an hour is used up"
	if !e.until.IsZero() {
		text += " until " + e.until.UTC().Format(time.RFC3339)
	}
	return text
}

func (e *limitError) Unwrap() error { return anycert.ErrUnavailable }

// credentialError says that the token could not be had.
type credentialError struct{ err error }

func (e *credentialError) Error() string { return "reading the token: " + e.err.Error() }
func (e *credentialError) Unwrap() error { return e.err }

func outOfTime(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w", anycert.ErrUnavailable, err)
	}
	return err
}

// failed makes of what the library returned an error that says what was being done,
// and shows nothing that was sent: a server may repeat it, and the library would.
func (s *session) failed(doing string, err error) error {
	var limit *limitError
	var credential *credentialError
	var answered *fastly.HTTPError
	var transport *url.Error
	switch {
	case s.ctx.Err() != nil:
		return fmt.Errorf("%s: %w", doing, outOfTime(s.ctx.Err()))
	case errors.As(err, &limit):
		return fmt.Errorf("%s: %w", doing, limit)
	case errors.As(err, &credential):
		return fmt.Errorf("%s: %w", doing, credential)
	case errors.As(err, &answered):
		return fmt.Errorf("%s: %w", doing, s.refused(answered))
	case errors.As(err, &transport) && errors.Is(err, anycert.ErrMalformed): // in our own words
		return fmt.Errorf("%s: %w", doing, transport.Err)
	case errors.As(err, &transport):
		return fmt.Errorf("%s: %w: %s", doing, anycert.ErrUnavailable, s.clean(transport.Err.Error()))
	}
	if errors.Is(err, anycert.ErrMalformed) {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return fmt.Errorf("%s: %w: the answer is not what it should be: %s", doing, anycert.ErrMalformed, s.clean(err.Error()))
}

// refused says what Fastly's answer means.
func (s *session) refused(e *fastly.HTTPError) error {
	text := fmt.Sprintf("Fastly answered %d %s", e.StatusCode, http.StatusText(e.StatusCode))
	for _, object := range e.Errors {
		if object.Title == "Undefined error" { // the library's words for a body that it could not read
			continue
		}
		if title := s.clean(object.Title); title != "" {
			text += ": " + title
		}
		if detail := s.clean(object.Detail); detail != "" {
			text += ": " + detail
		}
	}
	switch {
	case e.StatusCode == http.StatusUnauthorized, e.StatusCode == http.StatusForbidden:
		return fmt.Errorf("%w: %s: the token (%s) needs the scope \"global\", and its user the right to manage TLS", anycert.ErrForbidden, text, s.token)
	case e.StatusCode >= http.StatusInternalServerError:
		return fmt.Errorf("%w: %s", anycert.ErrUnavailable, text)
	case e.StatusCode >= http.StatusMultipleChoices && e.StatusCode < http.StatusBadRequest:
		return fmt.Errorf("%s: a redirect is not followed, for the token's sake: check the endpoint", text)
	}
	return errors.New(text)
}

func isStatus(err error, status int) bool {
	var answered *fastly.HTTPError
	return errors.As(err, &answered) && answered.StatusCode == status
}

// Whatever could be a key or a token: PEM, and long words of base64 or hex. An id of
// Fastly's has 22 characters.
var secretLooking = regexp.MustCompile(`(?s)-----BEGIN.*?(-----END[^-]*-----|$)|[A-Za-z0-9+/=_]{24,}`)

// clean is clean, without the token as well: it may be of any form.
func (s *session) clean(text string) string {
	if token := s.transport.sent.Reveal(); token != "" {
		text = strings.ReplaceAll(text, token, "[…]")
	}
	return clean(text)
}

// clean makes a text from the other side fit for an error: no secrets, one line, and
// not long.
func clean(text string) string {
	text = secretLooking.ReplaceAllString(text, "[…]")
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || !unicode.IsPrint(r) && r != ' ' {
			return ' '
		}
		return r
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > 200 {
		text = string(runes[:200]) + "…"
	}
	return text
}
