package calimits

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/anycert/anycert/internal/testenv/acmeserver"
)

// UserAgent is how a Limiter calls itself when it asks the server something.
const UserAgent = "calimits"

// maxBody bounds what is read of a request.
const maxBody = 1 << 20

// Handler holds the clients of next, an ACME server with Pebble's paths, to the limits.
func (l *Limiter) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		kind := acmeserver.KindOf(r)
		l.mu.Lock()
		l.counts[kind]++
		l.mu.Unlock()
		switch kind {
		case acmeserver.KindNewOrder:
			l.newOrder(next, w, r)
		case acmeserver.KindFinalize:
			if answer := relay(next, w, r); answer.Code == http.StatusOK {
				l.finalized(r.URL.Path)
			}
		case acmeserver.KindAuthz:
			sent := jws(r)
			answer := relay(next, w, r)
			var found struct {
				Status     string
				Identifier struct{ Value string }
			}
			if json.Unmarshal(answer.Body.Bytes(), &found) == nil && found.Status == "invalid" {
				l.Failed(r.URL.Path, sent.account, found.Identifier.Value)
			}
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// newOrder lets an order through, or refuses it as Let's Encrypt does.
func (l *Limiter) newOrder(next http.Handler, w http.ResponseWriter, r *http.Request) {
	sent := jws(r)
	var wanted struct {
		Identifiers []struct{ Value string }
		Replaces    string
	}
	if err := json.Unmarshal(sent.payload, &wanted); err != nil {
		next.ServeHTTP(w, r) // it knows what to say
		return
	}
	a := ask{account: sent.account}
	for _, identifier := range wanted.Identifiers {
		a.names = append(a.names, strings.ToLower(identifier.Value))
	}
	slices.Sort(a.names)
	a.names = slices.Compact(a.names)
	a.advised = wanted.Replaces != "" && l.advised(next, r, wanted.Replaces)
	refused, after, undo := l.admit(a)
	if refused != "" {
		refuse(w, refused, after)
		return
	}
	answer := relay(next, w, r)
	if answer.Code != http.StatusCreated {
		undo()
		return
	}
	var made struct{ Finalize string }
	if json.Unmarshal(answer.Body.Bytes(), &made) != nil {
		return
	}
	if finalize, err := url.Parse(made.Finalize); err == nil {
		l.opened(finalize.Path, a)
	}
}

// advised asks the server for the window of a certificate, and tells whether it is now.
func (l *Limiter) advised(next http.Handler, r *http.Request, id string) bool {
	ask := httptest.NewRequestWithContext(r.Context(), http.MethodGet, "https://"+r.Host+acmeserver.RenewalInfoPath+id, nil)
	ask.Header.Set("User-Agent", UserAgent) // Pebble wants one
	answer := httptest.NewRecorder()
	next.ServeHTTP(answer, ask)
	var info struct {
		SuggestedWindow struct{ Start, End time.Time }
	}
	if answer.Code != http.StatusOK || json.Unmarshal(answer.Body.Bytes(), &info) != nil {
		return false
	}
	window, now := info.SuggestedWindow, l.Now()
	return !now.Before(window.Start) && !now.After(window.End)
}

// refuse answers in Let's Encrypt's way.
func refuse(w http.ResponseWriter, detail string, after time.Duration) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(after.Seconds()))))
	w.WriteHeader(http.StatusTooManyRequests)
	_ = json.NewEncoder(w).Encode(map[string]any{ // the client may have gone
		"type": "urn:ietf:params:acme:error:rateLimited", "detail": detail, "status": http.StatusTooManyRequests})
}

// relay lets next answer, and returns the answer.
func relay(next http.Handler, w http.ResponseWriter, r *http.Request) *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	next.ServeHTTP(answer, r)
	for name, values := range answer.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes()) // the client may have gone
	return answer
}

// message is what a client has signed.
type message struct {
	account string // URL
	payload []byte
}

// jws reads the message of a request, unchecked, and leaves the request as it was.
func jws(r *http.Request) (m message) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	r.Body = io.NopCloser(bytes.NewReader(body))
	var parts struct{ Protected, Payload string }
	if err != nil || json.Unmarshal(body, &parts) != nil {
		return m
	}
	if header, err := base64.RawURLEncoding.DecodeString(parts.Protected); err == nil {
		var protected struct{ Kid string }
		if json.Unmarshal(header, &protected) == nil {
			m.account = protected.Kid
		}
	}
	m.payload, _ = base64.RawURLEncoding.DecodeString(parts.Payload) // nothing, if it is not
	return m
}
