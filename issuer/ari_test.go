package issuer

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/issuer/dns01"
	"github.com/anycert/anycert/store/storetest"
)

// TestCertID is the example of RFC 9773, section 4.1.
func TestCertID(t *testing.T) {
	leaf := &x509.Certificate{
		AuthorityKeyId: []byte{0x69, 0x88, 0x5b, 0x6b, 0x87, 0x46, 0x40, 0x41, 0xe1, 0xb3, 0x7b, 0x84, 0x7b, 0xa0, 0xae, 0x2c, 0xde, 0x01, 0xc8, 0xd4},
		SerialNumber:   new(big.Int).SetBytes([]byte{0x00, 0x87, 0x65, 0x43, 0x21}),
	}
	if got := certID(leaf); got != "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE" {
		t.Errorf("got %s", got)
	}
	leaf.AuthorityKeyId = nil
	if got := certID(leaf); got != "" {
		t.Errorf("without the issuer's key it is %q", got)
	}
}

// issued is a certificate of the CA "main" that lives from noon on.
func issued(t *testing.T, lifetime time.Duration) *anycert.Entry {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &anycert.Entry{Name: "site", Version: 1, Origin: anycert.Origin{Issuer: "main", Directory: letsEncrypt}, Leaf: &x509.Certificate{
		NotBefore: noon, NotAfter: noon.Add(lifetime), DNSNames: []string{"example.com"}, PublicKey: key.Public(),
		AuthorityKeyId: []byte("issuer"), SerialNumber: big.NewInt(4711),
	}}
}

var site = anycert.Certificate{Name: "site", Domains: []string{"example.com"}, Issuer: "main", KeyType: anycert.EC256}

// advised is an Issuer "main" that knows of advice about entry, beside a second one.
func advised(t *testing.T, entry *anycert.Entry, a *advice) *Issuer {
	t.Helper()
	provider := dns01.Config{{Provider: "cloudflare", Settings: dns01.Settings{"CF_DNS_API_TOKEN": {Reference: anycert.Reference{Env: "TOKEN"}}}}}
	i, err := New(Options{Store: &storetest.Memory{}, Records: &storetest.Memory{}, Issuers: []Config{
		{Name: "main", Directory: "letsencrypt", DNS: provider},
		{Name: "second", Directory: "https://ca.example.com/directory", Profile: "short", DNS: provider},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if a != nil {
		a.About = certID(entry.Leaf)
		i.outlooks.keep("site", recollection{outlook: outlook{Advice: a}, entry: entry.Version})
	}
	return i
}

func TestRenewalByAdvice(t *testing.T) {
	const day = 24 * time.Hour
	in := func(d time.Duration) time.Time { return noon.Add(d) }
	window := func(start, end, chosen time.Duration) *advice {
		return &advice{Start: in(start), End: in(end), Chosen: in(chosen)}
	}
	tests := []struct {
		name    string
		advice  *advice
		request *anycert.Request
		change  func(*anycert.Certificate, *anycert.Entry)
		now     time.Duration
		at      time.Duration
		reason  string
		urgency anycert.Urgency
	}{
		{name: "without advice", now: day, at: 60 * day, reason: "a third of its lifetime is left"},
		{name: "as advised", advice: window(59*day, 61*day, 60*day+time.Hour), now: day, at: 60*day + time.Hour,
			reason: "the CA advises 2026-12-30 12:00Z to 2027-01-01 12:00Z"},
		{name: "advised for later than its canary needs", advice: window(59*day, 61*day, 60*day), now: day, at: 54 * day,
			change: func(c *anycert.Certificate, _ *anycert.Entry) { c.Canary = true }, reason: "two fifths of its lifetime are left, and its canary goes first"},
		{name: "advised at once, with a canary", advice: window(day, 2*day, day), now: time.Hour, at: day,
			change: func(c *anycert.Certificate, _ *anycert.Entry) { c.Canary = true }, reason: "the CA advises 2026-11-02 12:00Z to 2026-11-03 12:00Z"},
		{name: "with an explanation", advice: &advice{Start: in(day), End: in(2 * day), Chosen: in(day), Explanation: "https://ca.example.com/incident"},
			now: time.Hour, at: day, reason: "the CA advises 2026-11-02 12:00Z to 2026-11-03 12:00Z (https://ca.example.com/incident)"},
		{name: "advised for too late", advice: window(85*day, 89*day, 88*day), now: day, at: 72 * day,
			reason: "a fifth of its lifetime is left, and the CA advises 2027-01-25 12:00Z to 2027-01-29 12:00Z"},
		{name: "the window has passed", advice: window(day, 2*day, 36*time.Hour), now: 10 * day, at: 36 * time.Hour,
			reason: "the CA advises 2026-11-02 12:00Z to 2026-11-03 12:00Z", urgency: anycert.NearExpiry},
		{name: "advice about another certificate", advice: window(day, 2*day, day), now: day, at: 60 * day,
			change: func(_ *anycert.Certificate, e *anycert.Entry) { e.Leaf.SerialNumber = big.NewInt(1) },
			reason: "a third of its lifetime is left"},
		{name: "half of the time is lost", now: 76 * day, at: 60 * day, reason: "a third of its lifetime is left", urgency: anycert.NearExpiry},
		{name: "due", now: 74 * day, at: 60 * day, reason: "a third of its lifetime is left"},
		{name: "expired", advice: window(59*day, 61*day, 60*day), now: 91 * day, at: 91 * day, reason: "it has expired", urgency: anycert.Expired},
		{name: "a person asked", request: &anycert.Request{By: "ops@laptop", Version: 1}, now: day, at: day,
			reason: "ops@laptop asked for it", urgency: anycert.New},
		{name: "compromised", request: &anycert.Request{By: "ops@laptop", Version: 1, Compromised: true}, now: 80 * day, at: 80 * day,
			reason: "ops@laptop asked for it: its key is known to others", urgency: anycert.Compromised},
		{name: "asked for and replaced", request: &anycert.Request{By: "ops@laptop", Version: 1}, now: day, at: 60 * day,
			change: func(_ *anycert.Certificate, e *anycert.Entry) { e.Version = 2 }, reason: "a third of its lifetime is left"},
		{name: "changed and nearly expired", now: 85 * day, at: 85 * day, reason: "the domains changed: +example.org", urgency: anycert.NearExpiry,
			change: func(c *anycert.Certificate, _ *anycert.Entry) { c.Domains = []string{"example.com", "example.org"} }},
		{name: "of the second issuer", now: day, at: 60 * day, reason: "a third of its lifetime is left",
			change: func(c *anycert.Certificate, e *anycert.Entry) {
				c.Fallbacks = []string{"second"}
				e.Origin = anycert.Origin{Issuer: "second", Directory: "https://ca.example.com/directory", Profile: "short"}
			}},
		{name: "of the second issuer with another profile", now: day, at: day, urgency: anycert.New,
			reason: "the profile changed from the CA's default to short",
			change: func(c *anycert.Certificate, e *anycert.Entry) {
				c.Fallbacks = []string{"second"}
				e.Origin = anycert.Origin{Issuer: "second", Directory: "https://ca.example.com/directory"}
			}},
		{name: "of an issuer that is not listed", now: day, at: day, reason: "the issuer changed from second to main", urgency: anycert.New,
			change: func(_ *anycert.Certificate, e *anycert.Entry) {
				e.Origin = anycert.Origin{Issuer: "second", Directory: "https://ca.example.com/directory", Profile: "short"}
			}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			entry, c := issued(t, 90*day), site
			i := advised(t, entry, test.advice)
			if test.request != nil {
				i.requests.set("site", recalled{request: *test.request})
			}
			if test.change != nil {
				test.change(&c, entry)
			}
			got := i.Renewal(c, entry, in(test.now))
			want := anycert.Renewal{At: in(test.at), Reason: test.reason, Urgency: test.urgency}
			if !got.At.Equal(want.At) || got.Reason != want.Reason || got.Urgency != want.Urgency {
				t.Errorf("got %s, %q, %s\nwant %s, %q, %s", got.At, got.Reason, got.Urgency, want.At, want.Reason, want.Urgency)
			}
		})
	}
}

func TestWindows(t *testing.T) {
	const day = 24 * time.Hour
	leaf := issued(t, 90*day).Leaf
	for name, window := range map[string][2]time.Duration{
		"ends before it starts": {60 * day, 59 * day},
		"has no length":         {60 * day, 60 * day},
		"starts before it":      {-day, 60 * day},
	} {
		if err := followable(leaf, noon.Add(window[0]), noon.Add(window[1])); err == nil || !strings.Contains(err.Error(), "ignored") {
			t.Errorf("a window that %s: %v", name, err)
		}
	}
	var first, last time.Time
	for range 2000 {
		got := choose(leaf, noon.Add(59*day), noon.Add(61*day))
		if got.Before(noon.Add(59*day)) || !got.Before(noon.Add(61*day)) {
			t.Fatalf("%s is outside of the window", got)
		}
		if first.IsZero() || got.Before(first) {
			first = got
		}
		if got.After(last) {
			last = got
		}
	}
	if spread := last.Sub(first); spread < 47*time.Hour {
		t.Errorf("2000 certificates share %s of two days", spread)
	}
	for range 200 {
		start := noon.Add(60*day + 900*time.Millisecond)
		if got := choose(leaf, start, start.Add(time.Second)); got.Before(start) || !got.Before(start.Add(time.Second)) {
			t.Fatalf("%s is outside of a window that begins at %s", got, start)
		}
	}
	if got := choose(leaf, noon, noon.Add(90*day)); !got.Equal(noon.Add(60 * day)) {
		t.Errorf("in a window that is the whole lifetime %s was chosen", got)
	}
}

func TestWebPage(t *testing.T) {
	for address, want := range map[string]string{
		"https://ca.example.com/incident?id=1": "https://ca.example.com/incident?id=1",
		"":                                     "",
		"javascript:alert(1)":                  "",
		"https://user:secret@example.com/":     "",
		"https://example.com/\x1b[2J":          "",
		"https://example.com/" + strings.Repeat("x", 400): "",
	} {
		if got := webPage(address); got != want {
			t.Errorf("%q is shown as %q", address, got)
		}
	}
}

// TestRecallReadsOnce: ten thousand certificates cost a read each when a process starts,
// and nothing as long as nothing changes.
func TestRecallReadsOnce(t *testing.T) {
	const certificates = 10_000
	reads := 0
	counted := make(chan struct{}, 1)
	memory := &storetest.Memory{Fail: func(op storetest.Op, name string) error {
		if op == storetest.OpLoad && strings.HasPrefix(name, anycert.KindRenewal+"/") {
			counted <- struct{}{}
			reads++
			<-counted
		}
		return nil
	}}
	i := advised(t, nil, nil)
	i.records = memory
	entry := issued(t, 90*24*time.Hour)
	wanted := make([]anycert.Wanted, certificates)
	for n := range wanted {
		c := site
		c.Name = fmt.Sprintf("site-%d", n)
		wanted[n] = anycert.Wanted{Certificate: c, Entry: entry}
	}
	recall := func(want int, what string) {
		t.Helper()
		reads = 0
		if err := i.Recall(t.Context(), wanted, false); err != nil {
			t.Fatal(err)
		}
		if reads != want {
			t.Errorf("%s: %d reads, want %d", what, reads, want)
		}
	}
	recall(certificates, "the first pass")
	recall(0, "an unchanged pass")
	renewed := *entry
	renewed.Version = 2
	wanted[17].Entry = &renewed
	recall(1, "a certificate was renewed")
	recall(0, "an unchanged pass")
}

// TestWrongClocks: what was written by a clock that was a year ahead holds up nobody.
func TestWrongClocks(t *testing.T) {
	const year = 365 * 24 * time.Hour
	entry := issued(t, 90*24*time.Hour)
	ahead := failure{Class: anycert.Passing, Attempts: 1}.again(errors.New("SERVFAIL"), "config", situation{entry: entry, now: noon.Add(year)})
	if ahead.waits("config", nil, noon) {
		t.Errorf("it is not tried before %s", ahead.Next)
	}
	if !ahead.waits("config", nil, noon.Add(year)) {
		t.Error("the failure is not waited for by the clock that wrote it")
	}
	i := advised(t, entry, &advice{Next: noon.Add(year)})
	if next := i.nextQuestion(anycert.Wanted{Certificate: site, Entry: entry}, noon); next.After(noon) {
		t.Errorf("the CA is not asked before %s", next)
	}
	i = advised(t, entry, &advice{Next: noon.Add(mostPause)})
	if next := i.nextQuestion(anycert.Wanted{Certificate: site, Entry: entry}, noon); !next.Equal(noon.Add(mostPause)) {
		t.Errorf("the CA is asked at %s", next)
	}
}
