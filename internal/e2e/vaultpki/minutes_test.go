package vaultpki

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/anycert/anycert/internal/testenv/world"
)

// Certificates of little more than a minute are renewed at the half of their lifetime,
// with one order each, by the configuration that serves any lifetime.
func TestMinutes(t *testing.T) {
	t.Parallel()
	o := open(t)
	o.shell("vault patch pki/roles/servers ttl=50s\nvault write pki/config/acme eab_policy=not-required")
	m := o.Now()
	config := o.hub("hub", "internal", "vault-pki", o.issuer("vault-pki", "servers", ""))
	o.Kept(o.Report(0, config, "sync"))
	before := o.Stored("internal")
	d := o.Daemon(config)
	for version := 2; version <= 3; version++ {
		now := o.awaitVersion(d, "internal", version)
		lifetime := before.Leaf.NotAfter.Sub(before.Leaf.NotBefore)
		half := before.Leaf.NotBefore.Add(lifetime / 2)
		if lifetime != 80*time.Second {
			t.Errorf("the lifetime is %s, want the role's 50 s and the 30 s before", lifetime)
		}
		if issued := issued(now); issued.Before(half) || issued.After(before.Leaf.NotAfter) {
			t.Errorf("version %d was issued at %s, want after %s, the half, and before %s, the end", version, issued, half, before.Leaf.NotAfter)
		}
		if string(now.Key) == string(before.Key) {
			t.Errorf("version %d has the key of the one before", version)
		}
		before = now
	}
	d.Await("has pushed what is stored", func() error { return o.Stored("internal").Same(o.InFiles(o.Files, "internal")) })
	d.End() // on a slow machine it may have been time for one more, which may not be ready yet
	if orders, versions := o.orders(m), o.Stored("internal").Version; orders < versions || orders > versions+1 {
		t.Errorf("%d orders were made for %d versions", orders, versions)
	}
}

// awaitVersion waits for a version of a certificate and expects that what was stored
// until then had not expired.
func (o *office) awaitVersion(d *world.Daemon, certificate string, version int) (s world.Stored) {
	o.T.Helper()
	d.Await(fmt.Sprintf("has obtained version %d of %s", version, certificate), func() error {
		if s = o.Stored(certificate); time.Now().After(s.Leaf.NotAfter) {
			o.T.Errorf("version %d has expired", s.Version)
		}
		if s.Version < version {
			return fmt.Errorf("it is version %d, until %s", s.Version, s.Leaf.NotAfter)
		}
		return nil
	})
	return s
}

// issued is when Vault signed: it dates certificates half a minute back.
func issued(s world.Stored) time.Time { return s.Leaf.NotBefore.Add(30 * time.Second) }

// orders counts those that Vault's PKI has taken since m.
func (o *office) orders(m world.Moment) (n int) {
	o.T.Helper()
	for _, r := range o.asked(m) {
		if strings.HasSuffix(r.Path, "/new-order") && r.Error == "" {
			n++
		}
	}
	return n
}
