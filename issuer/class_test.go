package issuer

import (
	"crypto/x509"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/failures"
	"github.com/anycert/anycert/issuer/dns01"
)

var noon = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// living is a certificate of a lifetime of which left is left at noon.
func living(lifetime, left time.Duration) *anycert.Entry {
	return &anycert.Entry{Name: "site", Version: 1, Leaf: &x509.Certificate{NotBefore: noon.Add(left - lifetime), NotAfter: noon.Add(left)}}
}

func TestClass(t *testing.T) {
	said := func(kind string, status int) error {
		return &caError{kind: kind, status: status, theirs: status >= 500, error: errors.New(kind)}
	}
	invalid := func(domain, kind string) error {
		return &unusable{error: fmt.Errorf("%s: %w", domain, said(kind, 403)), domain: domain}
	}
	tests := []struct {
		name string
		err  error
		want anycert.FailureClass
	}{
		{"a record that the CA did not see", invalid("example.com", "unauthorized"), anycert.Passing},
		{"a name server that was away", invalid("example.com", "dns"), anycert.Passing},
		{"CAA", invalid("example.com", "caa"), anycert.ToMend},
		{"one of two by CAA", failures.Join(invalid("example.com", "dns"), invalid("example.org", "caa")), anycert.ToMend},
		{"the validation failed on the CA's side", &unusable{error: &caError{kind: "serverInternal", theirs: true, error: errors.New("")}, domain: "example.com"}, anycert.OfCA},
		{"an account without rights", fmt.Errorf("making the order: %w", said("unauthorized", 403)), anycert.ToMend},
		{"a name that the CA never certifies", said("rejectedIdentifier", 400), anycert.ToMend},
		{"a limit", said("rateLimited", 429), anycert.Passing},
		{"a server's failure", said("serverInternal", 500), anycert.OfCA},
		{"a request that is wrong", said("malformed", 400), anycert.ToMend},
		{"not decided", slow("the order"), anycert.OfCA},
		{"somebody else's record", early{mend{&dns01.ForeignError{Domain: "example.com"}}}, anycert.ToMend},
		{"joined with somebody else's record", failures.Join(said("serverInternal", 500), &dns01.ForeignError{}), anycert.ToMend},
		{"a token that is refused", fmt.Errorf("example.com: writing the record: %w", anycert.ErrForbidden), anycert.ToMend},
		{"a secret that is missing", unreadable(errors.New("no such variable")), anycert.ToMend},
		{"a secret in a store that is away", unreadable(anycert.ErrUnavailable), anycert.Passing},
		{"a DNS that does not answer", errors.New("example.com: SERVFAIL"), anycert.Passing},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := classOf(test.err); got != test.want {
				t.Errorf("it is %q, want %q", got, test.want)
			}
		})
	}
}

func TestInvalidatedDomains(t *testing.T) {
	err := fmt.Errorf("site: %w", failures.Join(
		&unusable{error: errors.New(""), domain: "b.example.com"}, errors.New("another"),
		&unusable{error: errors.New(""), domain: "a.example.com"}, &unusable{error: errors.New("the order")}))
	if got := invalidated(err); !sameNames(got, []string{"a.example.com", "b.example.com"}) {
		t.Errorf("got %v", got)
	}
}

// TestPauses: by what happened and by what is left. Each is given or taken a tenth.
func TestPauses(t *testing.T) {
	const day = 24 * time.Hour
	tests := []struct {
		name  string
		class anycert.FailureClass
		early bool
		entry *anycert.Entry
		want  []time.Duration
	}{
		{"nothing was issued", anycert.Passing, false, nil, []time.Duration{time.Minute, 10 * time.Minute, 100 * time.Minute, day, day}},
		{"30 days left", anycert.OfCA, false, living(90*day, 30*day), []time.Duration{time.Minute, 10 * time.Minute, 100 * time.Minute, day, day}},
		{"2 days left", anycert.Passing, false, living(90*day, 2*day), []time.Duration{time.Minute, 10 * time.Minute, 100 * time.Minute, 6 * time.Hour}},
		{"half an hour left", anycert.Passing, false, living(time.Hour, 30*time.Minute), []time.Duration{time.Minute, 225 * time.Second, 225 * time.Second}},
		{"two and a half minutes left", anycert.Passing, false, living(5*time.Minute, 150*time.Second), []time.Duration{18750 * time.Millisecond, 18750 * time.Millisecond}},
		{"seconds left", anycert.Passing, false, living(5*time.Minute, 20*time.Second), []time.Duration{15 * time.Second, 15 * time.Second}},
		{"90 days, expired", anycert.Passing, false, living(90*day, -day), []time.Duration{time.Minute, 10 * time.Minute, 100 * time.Minute, day}},
		{"five minutes, expired", anycert.Passing, false, living(5*time.Minute, -time.Hour), []time.Duration{37500 * time.Millisecond, 37500 * time.Millisecond}},
		{"to mend", anycert.ToMend, false, living(90*day, 30*day), []time.Duration{day, day}},
		{"to mend, 2 days left", anycert.ToMend, false, living(90*day, 2*day), []time.Duration{6 * time.Hour}},
		{"to mend, an hour left", anycert.ToMend, false, living(90*day, time.Hour), []time.Duration{time.Hour}},
		{"before the CA was asked", anycert.ToMend, true, nil, []time.Duration{10 * time.Minute, 10 * time.Minute, 10 * time.Minute, 10 * time.Minute}},
		{"before the CA was asked, five minutes", anycert.ToMend, true, living(5*time.Minute, 150*time.Second), []time.Duration{18750 * time.Millisecond}},
		{"a store was away", anycert.Passing, true, nil, []time.Duration{time.Minute, 10 * time.Minute, 10 * time.Minute}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for n, want := range test.want {
				f := failure{Class: test.class, Early: test.early, Attempts: n + 1}
				for range 100 {
					if got := f.pause(situation{entry: test.entry, now: noon}); got < want*9/10 || got > want*11/10 {
						t.Fatalf("after %d failures the pause is %s, want %s give or take a tenth", n+1, got, want)
					}
				}
			}
		})
	}
}

func TestFailureAfterFailure(t *testing.T) {
	entry := living(90*24*time.Hour, 20*24*time.Hour)
	away := &caError{theirs: true, error: errors.New("connection refused")}
	s := func(after time.Duration) situation { return situation{entry: entry, now: noon.Add(after)} }

	first := failure{}.again(away, "config", s(0))
	second := first.again(away, "config", s(time.Hour))
	if second.Attempts != 2 || !second.Since.Equal(noon) || !second.Down.Equal(noon) || !second.Last.Equal(noon.Add(time.Hour)) {
		t.Errorf("the second in a row is %+v", second)
	}
	third := second.again(errors.New("SERVFAIL"), "config", s(2*time.Hour))
	if third.Attempts != 3 || !third.Down.IsZero() || third.Class != anycert.Passing || !third.Since.Equal(noon) {
		t.Errorf("another failure is %+v", third)
	}
	if fourth := third.again(away, "config", s(3*time.Hour)); !fourth.Down.Equal(noon.Add(3 * time.Hour)) {
		t.Errorf("the CA is down since %s", fourth.Down)
	}
	if anew := third.again(away, "another config", s(3*time.Hour)); anew.Attempts != 1 || !anew.Since.Equal(noon.Add(3*time.Hour)) {
		t.Errorf("with another configuration it is %+v", anew)
	}

	rejected := &unusable{error: &caError{kind: "badPublicKey", error: errors.New("")}, key: true}
	once := failure{}.again(rejected, "config", s(0))
	if twice := once.again(rejected, "config", s(time.Hour)); once.Class != anycert.Passing || twice.Class != anycert.ToMend {
		t.Errorf("a rejected key is %q, and the next one %q", once.Class, twice.Class)
	}
}

func TestWaiting(t *testing.T) {
	f := failure{Class: anycert.ToMend, Config: "config", Asked: noon.Add(-time.Hour), Last: noon, Next: noon.Add(24 * time.Hour)}
	tests := []struct {
		name    string
		config  string
		request *anycert.Request
		after   time.Duration
		want    bool
	}{
		{"an hour later", "config", nil, time.Hour, true},
		{"a day later", "config", nil, 24 * time.Hour, false},
		{"the configuration changed", "another", nil, time.Hour, false},
		{"a person asked, by whatever clock", "config", &anycert.Request{Time: noon.Add(-time.Minute)}, time.Hour, false},
		{"that was the attempt that failed", "config", &anycert.Request{Time: noon.Add(-time.Hour)}, time.Hour, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := f.waits(test.config, test.request, noon.Add(test.after)); got != test.want {
				t.Errorf("it waits: %v", got)
			}
		})
	}
}

func TestFingerprint(t *testing.T) {
	config := func(change func(*Config)) Config {
		c := Config{Name: "main", Directory: "letsencrypt", DNS: dns01.Config{{Provider: "cloudflare", Settings: dns01.Settings{
			"CF_DNS_API_TOKEN": {Reference: anycert.Reference{Env: "A"}}, "CF_ZONE_API_TOKEN": {Reference: anycert.Reference{Env: "B"}}}}}}
		if change != nil {
			change(&c)
		}
		return c
	}
	w := want{Domains: []string{"example.com"}}
	same := fingerprint(config(nil), w)
	if fingerprint(config(nil), w) != same {
		t.Error("it differs each time")
	}
	for name, other := range map[string]string{
		"token": fingerprint(config(func(c *Config) {
			c.DNS[0].Settings["CF_DNS_API_TOKEN"] = dns01.Setting{Reference: anycert.Reference{Env: "C"}}
		}), w),
		"email":   fingerprint(config(func(c *Config) { c.Email = "ops@example.com" }), w),
		"domains": fingerprint(config(nil), want{Domains: []string{"example.org"}}),
	} {
		if other == same {
			t.Errorf("another %s makes no difference", name)
		}
	}
}
