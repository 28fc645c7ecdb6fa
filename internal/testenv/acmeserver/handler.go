package acmeserver

import (
	"bytes"
	"io"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/letsencrypt/pebble/v2/acme"
	"github.com/letsencrypt/pebble/v2/core"
)

// Kinds of requests, as in RFC 8555's table of resources (section 7.1).
const (
	KindDirectory   = "directory"
	KindNewNonce    = "newNonce"
	KindNewAccount  = "newAccount"
	KindNewOrder    = "newOrder"
	KindAccount     = "account"
	KindOrder       = "order"
	KindAuthz       = "authorization"
	KindChallenge   = "challenge"
	KindFinalize    = "finalize"
	KindCertificate = "certificate"
	KindRevoke      = "revokeCert"
	KindRenewalInfo = "renewalInfo"
	KindOther       = "other"
)

// RenewalInfoPath is where renewal information is asked for; the certificate's id
// follows.
const RenewalInfoPath = "/draft-ietf-acme-ari-03/renewalInfo/"

// prefixes are Pebble's paths, chosen to differ from everybody else's.
var prefixes = []struct{ prefix, kind string }{
	{"/dir", KindDirectory},
	{"/nonce-plz", KindNewNonce},
	{"/sign-me-up", KindNewAccount},
	{"/order-plz", KindNewOrder},
	{"/my-account/", KindAccount},
	{"/my-order/", KindOrder},
	{"/authZ/", KindAuthz},
	{"/chalZ/", KindChallenge},
	{"/finalize-order/", KindFinalize},
	{"/certZ/", KindCertificate},
	{"/revoke-cert", KindRevoke},
	{RenewalInfoPath, KindRenewalInfo},
}

// KindOf tells what a request asks for.
func KindOf(r *http.Request) string {
	for _, p := range prefixes {
		if strings.HasPrefix(r.URL.Path, p.prefix) {
			return p.kind
		}
	}
	return KindOther
}

// Interceptor is asked before Pebble. If it has answered the request it
// returns true, and Pebble never sees it.
type Interceptor func(w http.ResponseWriter, r *http.Request) (answered bool)

// Intercept makes the server ask f about each request from now on; nil ends
// it. f is called by several goroutines at once.
func (s *Server) Intercept(f Interceptor) {
	if f == nil {
		s.intercept.Store(nil)
		return
	}
	s.intercept.Store(&f)
}

// Fail answers with an ACME error (RFC 8555, section 6.7): kind is such as
// "serverInternal" or "rateLimited", retryAfter is left out if empty. It is for
// use by interceptors.
func Fail(w http.ResponseWriter, status int, kind, retryAfter string) {
	w.Header().Set("Content-Type", "application/problem+json")
	if retryAfter != "" {
		w.Header().Set("Retry-After", retryAfter)
	}
	w.WriteHeader(status)
	_, _ = w.Write([]byte(`{"type":"urn:ietf:params:acme:error:` + kind + `","detail":"made to fail by the test rig"}`))
}

// front stands before Pebble and notes each request.
type front struct {
	server  *Server
	pebble  http.Handler
	patient bool
}

func (f front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	seen := &statusWriter{ResponseWriter: w, status: http.StatusOK}
	begun := time.Now()
	if ask := f.server.intercept.Load(); ask == nil || !(*ask)(seen, r) {
		f.forward(seen, r)
	}
	f.server.noteRequest(Request{Time: begun, Kind: KindOf(r), Method: r.Method, Path: r.URL.Path,
		UserAgent: r.UserAgent(), Protocol: r.Proto, Status: seen.status})
}

// forward lets Pebble answer. If patient, it keeps back two kinds of answers
// until what they began is done, so that a client's first poll finds it, and
// gives challenges the Retry-After that RFC 8555 asks for and Pebble lacks.
func (f front) forward(w *statusWriter, r *http.Request) {
	kind, id := KindOf(r), path.Base(r.URL.Path)
	if f.patient && kind == KindChallenge {
		w.Header().Set("Retry-After", "1")
	}
	if kind == KindRenewalInfo {
		w.retryAfter = f.server.options.RetryAfterAdvice
	}
	if kind == KindNewOrder {
		f.server.findReplaced(r)
	}
	f.serve(kind, w, r)
	if kind == KindNewOrder {
		f.server.noteOrder(w.Header().Get("Location"))
	}
	if !f.patient || w.status != http.StatusOK {
		return
	}
	switch kind {
	case KindChallenge:
		waitFor(func() bool { return f.server.decided(id) })
	case KindFinalize:
		waitFor(func() bool { return f.server.issued(id) })
	}
}

// serve lets Pebble answer. New accounts are made one at a time: of two requests
// with one key at once, Pebble answers the second with an internal error, or with an
// account that it is still writing to (a data race).
func (f front) serve(kind string, w http.ResponseWriter, r *http.Request) {
	if kind == KindNewAccount {
		f.server.registering.Lock()
		defer f.server.registering.Unlock()
	}
	if kind == KindCertificate && f.server.leavesAlone.Load() {
		alone := &leafWriter{ResponseWriter: w}
		defer alone.end()
		f.apart(kind, alone, r)
		return
	}
	f.apart(kind, w, r)
}

// apart keeps questions about authorizations apart from all others. Pebble answers one
// with the lock of the authorization held, and asks its store for the account; elsewhere
// it holds the lock of the store and asks for that of each authorization. With a writer
// waiting between the two, it would never answer anything again.
func (f front) apart(kind string, w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body) // whoever is slow is waited for alone
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if kind == KindAuthz {
		f.server.authorizing.Lock()
		defer f.server.authorizing.Unlock()
	} else {
		f.server.authorizing.RLock()
		defer f.server.authorizing.RUnlock()
	}
	f.pebble.ServeHTTP(w, r)
}

// waitFor waits until done, at most a second.
func waitFor(done func() bool) {
	for range 200 {
		if done() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// decided reports whether a challenge has been tried.
func (s *Server) decided(challenge string) bool {
	c := s.db.GetChallengeByID(challenge)
	if c == nil {
		return true
	}
	c.RLock()
	authz := c.Authz
	c.RUnlock()
	return statusOf(authz) != acme.StatusPending
}

func statusOf(authz *core.Authorization) string {
	authz.RLock()
	defer authz.RUnlock()
	return authz.Status
}

// statusWriter remembers the status that was written, and may change the Retry-After.
type statusWriter struct {
	http.ResponseWriter
	status     int
	retryAfter int // seconds; 0 leaves what is there
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	if w.retryAfter != 0 {
		w.Header().Set("Retry-After", strconv.Itoa(w.retryAfter))
	}
	w.ResponseWriter.WriteHeader(status)
}
