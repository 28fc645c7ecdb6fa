package issuer_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/issuer"
	"github.com/anycert/anycert/issuer/dns01"
	"github.com/anycert/anycert/store/storetest"
)

const day = 24 * time.Hour

func TestRenewal(t *testing.T) {
	begin := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	origin := anycert.Origin{Issuer: "main", Directory: "https://acme-v02.api.letsencrypt.org/directory", Profile: "tlsserver"}
	leaf := func(lifetime time.Duration, names ...string) *x509.Certificate {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return &x509.Certificate{NotBefore: begin, NotAfter: begin.Add(lifetime), DNSNames: names, PublicKey: key.Public()}
	}
	entry := func(lifetime time.Duration, names ...string) *anycert.Entry {
		return &anycert.Entry{Name: "site", Version: 1, Leaf: leaf(lifetime, names...), Origin: origin}
	}
	site := anycert.Certificate{Name: "site", Domains: []string{"example.com", "*.example.com"}, Issuer: "main", KeyType: anycert.EC256}
	names := []string{"*.example.com", "example.com"} // in another order
	now := begin.Add(time.Hour)

	tests := []struct {
		name        string
		certificate func(*anycert.Certificate)
		entry       *anycert.Entry
		change      func(*anycert.Entry)
		now         time.Time
		want        anycert.Renewal
	}{
		{name: "nothing there", want: anycert.Renewal{At: now, Reason: "nothing was issued yet", Urgency: anycert.New}},
		{name: "kept by someone else", certificate: func(c *anycert.Certificate) { c.Issuer = "" },
			want: anycert.Renewal{Reason: "someone else keeps it"}},
		{name: "kept by someone else and expired", certificate: func(c *anycert.Certificate) { c.Issuer = "" },
			entry: entry(day, names...), now: begin.Add(2 * day), want: anycert.Renewal{Reason: "someone else keeps it"}},
		{name: "suspended", certificate: func(c *anycert.Certificate) { c.Suspended = true },
			want: anycert.Renewal{Reason: "it is suspended"}},
		{name: "unknown issuer", certificate: func(c *anycert.Certificate) { c.Issuer = "gone" },
			want: anycert.Renewal{Reason: "no issuer is named gone"}},
		{name: "90 days", entry: entry(90*day, names...), want: anycert.Renewal{At: begin.Add(60 * day), Reason: "a third of its lifetime is left"}},
		{name: "45 days", entry: entry(45*day, names...), want: anycert.Renewal{At: begin.Add(30 * day), Reason: "a third of its lifetime is left"}},
		{name: "9 days", entry: entry(9*day, names...), want: anycert.Renewal{At: begin.Add(9 * day / 2), Reason: "half of its lifetime is left"}},
		{name: "160 hours", entry: entry(160*time.Hour, names...), want: anycert.Renewal{At: begin.Add(80 * time.Hour), Reason: "half of its lifetime is left"}},
		{name: "90 days with a canary", certificate: func(c *anycert.Certificate) { c.Canary = true }, entry: entry(90*day, names...),
			want: anycert.Renewal{At: begin.Add(54 * day), Reason: "two fifths of its lifetime are left, and its canary goes first"}},
		{name: "somebody went back to it when it was due", entry: entry(90*day, names...), now: begin.Add(61 * day),
			change: func(e *anycert.Entry) { e.Time, e.Origin = begin.Add(61*day), e.Origin.RolledBack("ops@laptop", 1) },
			want:   anycert.Renewal{At: begin.Add(62 * day), Reason: "somebody went back to it, and has a day to mend what the next one would bring again"}},
		{name: "somebody went back to it long before", entry: entry(90*day, names...), now: begin.Add(3 * day),
			change: func(e *anycert.Entry) { e.Time, e.Origin = begin.Add(2*day), e.Origin.RolledBack("ops@laptop", 1) },
			want:   anycert.Renewal{At: begin.Add(60 * day), Reason: "a third of its lifetime is left"}},
		{name: "somebody went back to it near its end", entry: entry(90*day, names...), now: begin.Add(72 * day),
			change: func(e *anycert.Entry) { e.Time, e.Origin = begin.Add(72*day), e.Origin.RolledBack("ops@laptop", 1) },
			want:   anycert.Renewal{At: begin.Add(60 * day), Reason: "a third of its lifetime is left"}},
		{name: "9 days with a canary", certificate: func(c *anycert.Certificate) { c.Canary = true }, entry: entry(9*day, names...),
			want: anycert.Renewal{At: begin.Add(9 * day / 2), Reason: "half of its lifetime is left"}},
		{name: "expired", entry: entry(90*day, names...), now: begin.Add(91 * day), want: anycert.Renewal{At: begin.Add(91 * day), Reason: "it has expired", Urgency: anycert.Expired}},
		{name: "a domain more", entry: entry(90*day, "example.com"),
			want: anycert.Renewal{At: now, Reason: "the domains changed: +*.example.com", Urgency: anycert.New}},
		{name: "a domain less", entry: entry(90*day, append(names, "old.example.com")...),
			want: anycert.Renewal{At: now, Reason: "the domains changed: -old.example.com", Urgency: anycert.New}},
		{name: "key type", certificate: func(c *anycert.Certificate) { c.KeyType = anycert.RSA3072 }, entry: entry(90*day, names...),
			want: anycert.Renewal{At: now, Reason: "the key type changed to rsa3072", Urgency: anycert.New}},
		{name: "issuer", entry: entry(90*day, names...), change: func(e *anycert.Entry) { e.Origin.Issuer = "old" },
			want: anycert.Renewal{At: now, Reason: "the issuer changed from old to main", Urgency: anycert.New}},
		{name: "directory", entry: entry(90*day, names...), change: func(e *anycert.Entry) { e.Origin.Directory = "https://ca.example.com/dir" },
			want: anycert.Renewal{At: now, Reason: "the issuer's directory changed to https://acme-v02.api.letsencrypt.org/directory", Urgency: anycert.New}},
		{name: "profile", entry: entry(90*day, names...), change: func(e *anycert.Entry) { e.Origin.Profile = "" },
			want: anycert.Renewal{At: now, Reason: "the profile changed from the CA's default to tlsserver", Urgency: anycert.New}},
		{name: "written by hand", entry: entry(90*day, names...), change: func(e *anycert.Entry) { e.Origin = anycert.Origin{} },
			want: anycert.Renewal{At: begin.Add(60 * day), Reason: "a third of its lifetime is left"}},
	}
	i, err := issuer.New(issuer.Options{Store: &storetest.Memory{}, Records: &storetest.Memory{}, Issuers: []issuer.Config{{
		Name: "main", Directory: "letsencrypt", Profile: "tlsserver",
		DNS: dns01.Config{{Provider: "cloudflare", Settings: dns01.Settings{"CF_DNS_API_TOKEN": {Reference: anycert.Reference{Env: "TOKEN"}}}}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, at := site, now
			if test.certificate != nil {
				test.certificate(&c)
			}
			if test.change != nil {
				test.change(test.entry)
			}
			if !test.now.IsZero() {
				at = test.now
			}
			if diff := cmp.Diff(test.want, i.Renewal(c, test.entry, at)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
