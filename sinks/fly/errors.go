package fly

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"unicode"

	"github.com/anycert/anycert"
	"github.com/superfly/fly-go/flaps"
)

// refused, unreadable and local are errors whose texts were written here, and so
// show nothing of an answer.
type (
	refused    struct{ text string }
	unreadable struct{ text string }
	local      struct{ err error } // from before the request left
)

func (e refused) Error() string    { return e.text }
func (e refused) Unwrap() error    { return anycert.ErrRefused }
func (e unreadable) Error() string { return e.text }
func (e local) Error() string      { return e.err.Error() }
func (e local) Unwrap() error      { return e.err }

// failed is the error that leaves the sink. The client's own errors go no further:
// they quote the answer, and an answer may quote the request with its key (law 9).
// What flaps makes of a context that ended cannot be told by errors.Is, so that ctx
// is asked itself.
func (s *Sink) failed(ctx context.Context, target anycert.Target, doing string, err error) error {
	where := "fly app " + s.app
	if target.Label != "" {
		where += ", hostname " + target.Label
	}
	return fmt.Errorf("%s: %s: %w", where, doing, s.reason(ctx, target, err))
}

func (s *Sink) reason(ctx context.Context, target anycert.Target, err error) error {
	var (
		ours    local
		no      refused
		answer  *flaps.FlapsError
		bad     unreadable
		network *url.Error
	)
	switch {
	case errors.As(err, &no):
		return fmt.Errorf("%w: %s", anycert.ErrRefused, no.text)
	case ctx.Err() != nil:
		return fmt.Errorf("%w: gave up waiting for Fly.io's API: %w", anycert.ErrUnavailable, ctx.Err())
	case errors.As(err, &ours):
		return ours.err
	case errors.As(err, &answer):
		return s.answered(answer, target)
	case errors.As(err, &bad):
		return fmt.Errorf("%w: Fly.io's answer: %s", anycert.ErrMalformed, bad.text)
	case errors.As(err, &network):
		return fmt.Errorf("%w: Fly.io's API cannot be reached: %s", anycert.ErrUnavailable, s.clean(network.Err.Error(), target))
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: Fly.io's answer broke off", anycert.ErrUnavailable)
	}
	return fmt.Errorf("%w: Fly.io's answer is not what the API promises", anycert.ErrMalformed)
}

// answered speaks for an answer that is an error.
func (s *Sink) answered(answer *flaps.FlapsError, target anycert.Target) error {
	status := answer.ResponseStatusCode
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		s.token.Refused()
		return fmt.Errorf("%w: Fly.io does not accept the token from %s (%d): make a deploy token of this app with `fly tokens create deploy --app %s`",
			anycert.ErrForbidden, s.reference, status, s.app)
	case status == http.StatusNotFound:
		return fmt.Errorf("Fly.io has no app %q that this token may see (404): check app in the sink's config", s.app)
	case status == http.StatusTooManyRequests:
		return fmt.Errorf("%w: Fly.io's rate limit of a request a second is exhausted (429): does something else use the API for this app?", anycert.ErrUnavailable)
	case status == http.StatusRequestTimeout || status >= 500:
		return fmt.Errorf("%w: Fly.io's API answers %d%s", anycert.ErrUnavailable, status, s.explain(answer, target))
	}
	return fmt.Errorf("Fly.io does not accept it (%d)%s", status, s.explain(answer, target))
}

// explain is what an answer says of its error, with ": " before it; empty when it
// says nothing.
func (s *Sink) explain(answer *flaps.FlapsError, target anycert.Target) string {
	var body struct {
		Error   string `json:"error"`
		Message string `json:"message"`
	}
	if json.Unmarshal(answer.ResponseBody, &body) != nil {
		return ""
	}
	text := body.Message
	if text == "" {
		text = body.Error
	}
	if text = s.clean(text, target); text == "" {
		return ""
	}
	return ": " + text
}

// withheld stands for a text that seems to repeat a key or a token.
const withheld = "(its explanation is not shown: it seems to repeat what was sent)"

// How keys and tokens look: PEM; a run of base64, base64url or hex; bytes one by
// one, in decimal or hex.
var (
	armour  = regexp.MustCompile(`-----|PRIVATE KEY`)
	run     = regexp.MustCompile(`[A-Za-z0-9+/=_-]{20,}`)
	numbers = regexp.MustCompile(`(?:[0-9A-Fa-f]{1,3}[ :,]+){8}`)
)

// clean makes a text of the other side fit to be shown: short, printable, and
// without anything that could be a key or a token. When in doubt it shows nothing.
func (s *Sink) clean(text string, target anycert.Target) string {
	rest := text
	for _, known := range []string{target.Label, s.app, s.host} { // may be long, and are no secret
		if known != "" {
			rest = strings.ReplaceAll(rest, known, " ")
		}
	}
	if armour.MatchString(rest) || numbers.MatchString(rest) {
		return withheld
	}
	for _, found := range run.FindAllString(rest, -1) {
		if strings.IndexFunc(found, func(r rune) bool { return unicode.IsDigit(r) || unicode.IsUpper(r) }) >= 0 {
			return withheld
		}
	}
	return printable(text)
}

// printable bounds a text of the other side, and takes out what could move a
// terminal's cursor.
func printable(text string) string {
	const most = 200
	fields := strings.FieldsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) || r == ' ' })
	runes := []rune(strings.Join(fields, " "))
	if len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return string(runes)
}
