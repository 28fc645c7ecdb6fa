package kubernetes

import (
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/anycert/anycert"
)

type anyToken struct{}

func (anyToken) Secret(context.Context) (anycert.Secret, error) { return anycert.NewSecret("x"), nil }
func (anyToken) Refused()                                       {}

// listener is an API server that takes Events, or does not.
type listener struct {
	sink   *Sink
	target anycert.Target
	heard  string // the methods of what was asked about Events
	fails  int    // so many times it is overloaded
	gone   bool   // the Event that was made has expired
}

func newListener(t *testing.T) *listener {
	t.Helper()
	l := &listener{}
	server := httptest.NewTLSServer(l)
	t.Cleanup(server.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	config := Config{Server: server.URL, CA: ca, Token: anycert.Reference{Env: "TOKEN"}, Namespaces: []string{"web"}}
	sink, err := config.Open(anycert.SinkEnv{Name: "prod", Owner: "hub", Credential: func(anycert.Reference) anycert.Credential { return anyToken{} }})
	if err != nil {
		t.Fatal(err)
	}
	l.sink = sink.(*Sink)
	targets, err := l.sink.Targets("example", []string{"example.com"})
	if err != nil {
		t.Fatal(err)
	}
	l.target = targets[0]
	return l
}

func (l *listener) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	switch {
	case strings.Contains(r.URL.Path, "selfsubjectrulesreviews"):
		_, _ = io.WriteString(w, `{"status":{"resourceRules":[{"verbs":["*"],"apiGroups":["*"],"resources":["*"]}]}}`)
	case !strings.Contains(r.URL.Path, "/events"):
		_, _ = io.WriteString(w, `{"kind":"Secret","apiVersion":"v1","metadata":{"name":"example-tls","namespace":"web","uid":"u"}}`)
	default:
		l.event(w, r)
	}
}

func (l *listener) event(w http.ResponseWriter, r *http.Request) {
	l.heard += r.Method + " "
	code, reason := 0, ""
	switch {
	case l.fails > 0:
		l.fails--
		code, reason = http.StatusInternalServerError, "InternalError"
	case l.gone && r.Method == http.MethodPatch:
		code, reason = http.StatusNotFound, "NotFound"
	default:
		_, _ = io.WriteString(w, `{"kind":"Event","apiVersion":"events.k8s.io/v1"}`)
		return
	}
	w.WriteHeader(code)
	fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","code":%d,"reason":%q,"message":"no"}`, code, reason)
}

func (l *listener) tell() error {
	return l.sink.Tell(context.Background(), l.target, anycert.Event{Kind: anycert.Contested, Version: 1})
}

// What could not be told is told when it comes up the next time, however soon.
func TestTellAfterAFailure(t *testing.T) {
	l := newListener(t)
	l.fails = 1
	if err := l.tell(); err == nil {
		t.Error("an Event that was not taken is no error")
	}
	for range 3 {
		if err := l.tell(); err != nil {
			t.Error(err)
		}
	}
	if l.heard != "POST POST " {
		t.Errorf("the API server was asked %q, want an Event until it is there, and no more", l.heard)
	}
}

// An Event that has expired is made anew, and not only the next time.
func TestTellOfAnExpiredEvent(t *testing.T) {
	l := newListener(t)
	if err := l.tell(); err != nil {
		t.Fatal(err)
	}
	l.gone = true
	l.sink.Later(voiceRepeat)
	if err := l.tell(); err != nil || l.heard != "POST PATCH POST " {
		t.Errorf("the API server was asked %q (%v)", l.heard, err)
	}
}
