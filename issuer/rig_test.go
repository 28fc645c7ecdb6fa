package issuer_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/acmeserver"
	"github.com/anycert/anycert/internal/testenv/dnsserver"
	"github.com/anycert/anycert/issuer"
	"github.com/anycert/anycert/issuer/dns01"
	"github.com/anycert/anycert/store/storetest"
)

// world is a CA, a DNS server and a store.
type world struct {
	t     *testing.T
	dns   *dnsserver.Server
	acme  *acmeserver.Server
	store *storetest.Memory
	roots string // file

	mu    sync.Mutex
	clock time.Duration // ahead of the real one
}

// newWorld starts one for zones, by default example.com.
func newWorld(t *testing.T, o acmeserver.Options, zones ...string) *world {
	t.Helper()
	if len(zones) == 0 {
		zones = []string{"example.com"}
	}
	w := &world{t: t, dns: testenv.DNS(t, zones...), store: &storetest.Memory{}}
	w.acme = testenv.ACME(t, w.dns.Addr, o)
	w.roots = filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(w.roots, w.acme.CAPEM, 0o600); err != nil {
		t.Fatal(err)
	}
	return w
}

// config is an issuer "pebble" that writes into the world's DNS.
func (w *world) config() issuer.Config {
	return issuer.Config{
		Name: "pebble", Directory: w.acme.URL, Email: "ops@example.com", CABundle: w.roots,
		DNS: dns01.Config{updates(w.dns.Addr, "env", "TSIG_SECRET", dnsserver.Algorithm)},
	}
}

// updates is a provider for a DNS server that takes dynamic updates.
func updates(address, kind, secret, algorithm string) dns01.Provider {
	reference := anycert.Reference{Env: secret}
	if kind == "file" {
		reference = anycert.Reference{File: secret}
	}
	return dns01.Provider{
		Provider: "rfc2136",
		Settings: dns01.Settings{
			"DNSUPDATE_NAMESERVER":       {Plain: address},
			"DNSUPDATE_TSIG_KEY":         {Plain: dnsserver.KeyName},
			"DNSUPDATE_TSIG_ALGORITHM":   {Plain: algorithm},
			"DNSUPDATE_TSIG_SECRET":      {Reference: reference},
			"DNSUPDATE_POLLING_INTERVAL": {Plain: "20ms"},
		},
		Resolvers:   []string{address},
		Propagation: dns01.ByResolvers,
	}
}

// issuer makes an Issuer of config, changed by change, over the world's store.
func (w *world) issuer(change ...func(*issuer.Config)) *issuer.Issuer {
	w.t.Helper()
	config := w.config()
	for _, f := range change {
		f(&config)
	}
	return w.open(issuer.Options{Issuers: []issuer.Config{config}})
}

func (w *world) open(o issuer.Options) *issuer.Issuer {
	w.t.Helper()
	if o.Store == nil {
		o.Store, o.Records = w.store, w.store
	}
	if o.Credential == nil {
		o.Credential = secrets{"env TSIG_SECRET": w.dns.Secret}.credential
	}
	o.UserAgent = "anycert/test"
	if o.Now == nil {
		o.Now = w.now
	}
	made, err := issuer.New(o)
	if err != nil {
		w.t.Fatal(err)
	}
	return made
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Add(w.clock)
}

// pass moves the issuers' clock.
func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock += d
}

// bundle reads what the store has of a certificate.
func (w *world) bundle(name string) *anycert.Bundle {
	w.t.Helper()
	entry, err := w.store.Stat(w.t.Context(), name)
	if err != nil {
		w.t.Fatal(err)
	}
	bundle, err := w.store.Get(w.t.Context(), name, entry.Version)
	if err != nil {
		w.t.Fatal(err)
	}
	return bundle
}

// noJournal fails the test if one is left.
func (w *world) noJournal() {
	w.t.Helper()
	if names, err := w.store.Keys(w.t.Context(), anycert.KindOrder); err != nil || len(names) > 0 {
		w.t.Errorf("journals are left: %v, %v", names, err)
	}
}

// noRecords fails the test if challenge records are left.
func (w *world) noRecords(names ...string) {
	w.t.Helper()
	for _, name := range names {
		if texts := w.dns.TXT(name); len(texts) > 0 {
			w.t.Errorf("records are left at %s: %v", name, texts)
		}
	}
}

// certificate is one for domains, of the issuer "pebble".
func certificate(name string, domains ...string) anycert.Certificate {
	return anycert.Certificate{Name: name, Domains: domains, Issuer: "pebble", KeyType: anycert.EC256}
}

func obtain(t *testing.T, i *issuer.Issuer, c anycert.Certificate) anycert.Entry {
	t.Helper()
	entry, err := i.Obtain(limited(t), c)
	if err != nil {
		t.Fatal(err)
	}
	return entry
}

// limited is a context that ends before the test's patience does.
func limited(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// secrets are credentials by their references.
type secrets map[string]string

func (s secrets) credential(r anycert.Reference) anycert.Credential {
	return secret{text: s[r.String()], missing: s[r.String()] == ""}
}

type secret struct {
	text    string
	missing bool
}

func (s secret) Secret(context.Context) (anycert.Secret, error) {
	if s.missing {
		return anycert.Secret{}, errors.New("no such secret")
	}
	return anycert.NewSecret(s.text), nil
}

func (secret) Refused() {}

func wantNames(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))) {
		t.Errorf("the certificate names %v, want %v", got, want)
	}
}

// wantError fails the test unless err says all of words.
func wantError(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the error does not say %q: %v", word, err)
		}
	}
}

func mustJSON(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatal(err)
	}
}

// failing answers requests of a kind with an error of the server's.
func failing(kind string) acmeserver.Interceptor {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if acmeserver.KindOf(r) != kind {
			return false
		}
		acmeserver.Fail(w, http.StatusInternalServerError, "serverInternal", "")
		return true
	}
}

func rootName(t *testing.T, text []byte) string {
	t.Helper()
	chain, err := anycert.ParseChain(text)
	if err != nil {
		t.Fatal(err)
	}
	return chain[0].Subject.CommonName
}

func toJSON(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// wantNotSaid fails the test if err shows a secret.
func wantNotSaid(t *testing.T, err error, secret string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	if strings.Contains(err.Error(), secret) {
		t.Errorf("the error shows a secret: %v", err)
	}
}

// interceptor calls f before requests of a kind and lets them through, unless f
// fails.
func interceptor(kind string, f func() error) acmeserver.Interceptor {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if acmeserver.KindOf(r) != kind {
			return false
		}
		if err := f(); err != nil {
			acmeserver.Fail(w, http.StatusInternalServerError, "serverInternal", "")
			return true
		}
		return false
	}
}

// oneAccountAtATime lets Pebble answer requests for accounts one after the other:
// it has a data race when two come with one key.
func (w *world) oneAccountAtATime() {
	var mu sync.Mutex
	admitted := w.acme.Count()[acmeserver.KindNewAccount]
	w.acme.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if acmeserver.KindOf(r) != acmeserver.KindNewAccount {
			return false
		}
		mu.Lock()
		defer mu.Unlock()
		for w.acme.Count()[acmeserver.KindNewAccount] < admitted { // answered so far
			time.Sleep(time.Millisecond)
		}
		admitted++
		return false
	})
}
