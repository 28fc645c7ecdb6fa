package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"github.com/anycert/anycert/internal/testenv/acmeserver"
)

// web stands between the daemon and a server that speaks HTTP.
type web struct {
	gate   *gate
	target string // scheme://host:port
	client http.RoundTripper
	name   func(r *http.Request, body []byte) string // of a call
	away   *atomic.Int64                             // nanoseconds that a call takes to get there; nil: none
	// underWay counts the calls of a server that is at rest before the next daemon is
	// started, so that its records tell what came before a crash. What was on its way to
	// any other server arrives late, as on a real network.
	underWay *atomic.Int64
}

// ServeHTTP forwards one call, whole, and its answer, whole. The Host header is kept:
// it is part of what an ACME client signs.
func (s web) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	life := s.gate.now.Load()
	if s.underWay != nil {
		s.underWay.Add(1)
		defer s.underWay.Add(-1)
	}
	body, err := io.ReadAll(r.Body)
	call := s.name(r, body)
	if err != nil || life.diesAt(point{call: call}) || s.underWay != nil && life.ended() {
		panic(http.ErrAbortHandler)
	}
	if s.away != nil {
		time.Sleep(time.Duration(s.away.Load()))
	}
	answer, text, err := s.forward(r, body)
	if err != nil || life.diesAt(point{call: call, after: true}) {
		panic(http.ErrAbortHandler)
	}
	for name, values := range answer.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.StatusCode)
	_, _ = w.Write(text)
}

// forward does not end with the daemon.
func (s web) forward(r *http.Request, body []byte) (*http.Response, []byte, error) {
	request, err := http.NewRequestWithContext(context.WithoutCancel(r.Context()), r.Method, s.target+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	request.Header, request.Host = r.Header.Clone(), r.Host
	answer, err := s.client.RoundTrip(request)
	if err != nil {
		return nil, nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer, text, err
}

// nameACME names a call to the CA as RFC 8555 does.
func nameACME(r *http.Request, _ []byte) string { return "acme " + acmeserver.KindOf(r) }

// nameVault names a call to Vault: what it does, and to what. The writes of a journal
// are told apart by the version that they follow.
func nameVault(r *http.Request, body []byte) string {
	verb := map[string]string{http.MethodGet: "read", http.MethodPut: "write", http.MethodPost: "write"}[r.Method]
	if verb == "" {
		verb = strings.ToLower(r.Method)
	}
	if r.URL.Query().Get("list") == "true" {
		verb = "list"
	}
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/v1/"), "/")
	if len(parts) < 4 || parts[0] != mount {
		return fmt.Sprintf("vault %s %s", verb, strings.Join(parts, "/"))
	}
	call := fmt.Sprintf("vault %s %s %s", verb, parts[1], parts[3])
	var write struct {
		Options struct{ CAS *int }
	}
	if verb == "write" && json.Unmarshal(body, &write) == nil && write.Options.CAS != nil && parts[3] == "orders" {
		const most = 5
		call += fmt.Sprintf(", version %d", min(*write.Options.CAS+1, most))
		if *write.Options.CAS+1 >= most {
			call += " or later"
		}
	}
	return call
}

// identifier is how Fastly names what was uploaded.
var identifier = regexp.MustCompile(`^[0-9A-Za-z]{22}$`)

// nameFastly names a call to Fastly: method and path, any object as good as another.
func nameFastly(r *http.Request, _ []byte) string {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	for i, part := range parts {
		if identifier.MatchString(part) {
			parts[i] = "ID"
		}
	}
	return fmt.Sprintf("fastly %s %s", r.Method, strings.Join(parts, "/"))
}
