package issuertest_test

import (
	"context"
	"crypto/x509"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/acmeserver"
	"github.com/anycert/anycert/internal/testenv/calimits"
	"github.com/anycert/anycert/internal/testenv/dnsserver"
	"github.com/anycert/anycert/issuer"
	"github.com/anycert/anycert/issuer/dns01"
	"github.com/anycert/anycert/issuer/issuertest"
)

// windows are those that a test has set.
type windows struct {
	mu  sync.Mutex
	set map[string][2]time.Time
}

func (w *windows) of(leaf *x509.Certificate) (start, end time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	found, ok := w.set[leaf.SerialNumber.String()]
	if !ok {
		return leaf.NotBefore.Add(60 * 24 * time.Hour), leaf.NotBefore.Add(61 * 24 * time.Hour)
	}
	return found[0], found[1]
}

func (w *windows) put(_ *testing.T, leaf *x509.Certificate, start, end time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.set[leaf.SerialNumber.String()] = [2]time.Time{start, end}
}

func TestOverTheModel(t *testing.T) {
	issuertest.Run(t, func(_ *testing.T, table calimits.Table, now func() time.Time) issuertest.Rig {
		dns, set := new(issuertest.DNS), &windows{set: map[string][2]time.Time{}}
		model := &issuertest.Model{Now: now, DNS: dns, Limits: calimits.New(table, now), Lifetime: issuertest.Lifetime, BadNonces: 11,
			Window: set.of, RetryAfter: issuertest.RetryAfter}
		return issuertest.Rig{
			Limits:    model.Limits,
			Options:   options(model),
			Lose:      func(lost bool) { dns.Lose(func(string) bool { return lost }) },
			Intercept: model.Intercept,
			Orders:    model.Orders,
			Asked:     func() int { return len(model.Asked()) },
			SetWindow: set.put,
		}
	}, true)
}

// options are those of an issuer that asks a model.
func options(model *issuertest.Model) issuer.Options {
	return issuer.Options{
		Issuers: []issuer.Config{{Name: issuertest.IssuerName, Directory: issuertest.Origin + "/dir", Limits: issuertest.Limits(),
			DNS: dns01.Config{{Provider: "rfc2136", Settings: dns01.Settings{"DNSUPDATE_NAMESERVER": {Plain: "127.0.0.1:1"}}}}}},
		Transport:  func(issuer.Config) http.RoundTripper { return model },
		Prover:     model.DNS.Prover,
		Credential: func(anycert.Reference) anycert.Credential { return secret("") },
	}
}

type secret string

func (s secret) Secret(context.Context) (anycert.Secret, error) {
	return anycert.NewSecret(string(s)), nil
}
func (secret) Refused() {}

func TestOverPebble(t *testing.T) {
	issuertest.Run(t, func(t *testing.T, table calimits.Table, now func() time.Time) issuertest.Rig {
		dns := testenv.DNS(t, issuertest.Zone)
		pebble := testenv.ACME(t, dns.Addr, acmeserver.Options{Profiles: map[string]time.Duration{"default": issuertest.Lifetime}})
		front, err := calimits.Start(pebble.URL, pebble.CAPEM, calimits.New(table, now))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(front.Close)
		roots := filepath.Join(t.TempDir(), "roots.pem")
		if err := os.WriteFile(roots, front.CAPEM, 0o600); err != nil {
			t.Fatal(err)
		}
		var lost atomic.Bool
		config := issuer.Config{Name: issuertest.IssuerName, Directory: front.URL, CABundle: roots, Limits: issuertest.Limits(),
			DNS: dns01.Config{{Provider: "rfc2136", Resolvers: []string{dns.Addr}, Propagation: dns01.Recursive, Settings: dns01.Settings{
				"DNSUPDATE_NAMESERVER": {Plain: dns.Addr}, "DNSUPDATE_TSIG_KEY": {Plain: dnsserver.KeyName},
				"DNSUPDATE_TSIG_ALGORITHM": {Plain: dnsserver.Algorithm}, "DNSUPDATE_TSIG_SECRET": {Reference: anycert.Reference{Env: "TSIG"}},
				"DNSUPDATE_POLLING_INTERVAL": {Plain: "20ms"}}}}}
		credential := func(anycert.Reference) anycert.Credential { return secret(dns.Secret) }
		return issuertest.Rig{
			Limits: front.Limiter,
			Options: issuer.Options{Issuers: []issuer.Config{config}, Credential: credential,
				Prover: func(ctx context.Context, config issuer.Config) (issuer.Prover, error) {
					real, err := config.DNS.Open(ctx, dns01.Env{Credential: credential, Locks: new(dns01.Locks)}) // a dead process holds none
					return liar{real, &lost}, err
				}},
			Lose:      lost.Store,
			Intercept: pebble.Intercept,
			Orders:    pebble.Orders,
			Asked:     func() int { return front.Count(acmeserver.KindRenewalInfo) },
			SetWindow: func(t *testing.T, leaf *x509.Certificate, start, end time.Time) {
				if err := pebble.SetRenewalInfo(leaf, start, end, ""); err != nil {
					t.Error(err)
				}
			},
		}
	}, false)
}

// liar tells the CA of records that it has not written.
type liar struct {
	issuer.Prover
	lost *atomic.Bool
}

func (l liar) Solve(ctx context.Context, challenges []dns01.Challenge, resumed bool, accept func(context.Context, int) error) error {
	if !l.lost.Load() {
		return l.Prover.Solve(ctx, challenges, resumed, accept)
	}
	for n := range challenges {
		if err := accept(ctx, n); err != nil {
			return err
		}
	}
	return nil
}
