package fastly_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/sinks/fastly"
	"github.com/anycert/anycert/sinks/sinktest"
)

// Somebody else's activation is left alone however often the certificate is pushed
// to other targets, and also when its domain joins the names later. Only what was
// ours is taken back.
func TestForeignActivationStaysForeign(t *testing.T) {
	server := start(t)
	sink := open(t, server, sinktest.Owner, nil)
	strangers := versions(t, []string{domain, "shop.example.com"}, 7)[0]
	theirs := foreign(t, server, strangers)
	server.Activate(configuration, "shop.example.com", theirs)

	small := versions(t, []string{domain}, 1)[0]
	pass(t, sink, small)
	for number := 2; number <= 4; number++ {
		pass(t, sink, versions(t, []string{domain, "shop.example.com"}, number)[0])
		if got := server.Active(configuration, "shop.example.com"); got != theirs {
			t.Fatalf("after version %d somebody else's activation points at %s", number, got)
		}
	}
	if got := server.Active(second, "shop.example.com"); got == "" || got == theirs {
		t.Errorf("the free target is served by %q, want ours", got)
	}
	target := targets(t, sink, "shop.example.com")[0]
	observed := observe(t, sink, target)
	if !strings.Contains(observed.Foreign, "uploaded by hand") || !strings.Contains(observed.Foreign, "adopt") {
		t.Errorf("Foreign is %q, want whose it is and the remedy", observed.Foreign)
	}
}

// The demo's case: an activation of ours was moved by hand to a longer-lived
// certificate, and the next pass moves it back, with its mutual TLS.
func TestMovedActivationIsMovedBack(t *testing.T) {
	server := start(t)
	pair := versions(t, both, 1)[0]
	pass(t, open(t, server, sinktest.Owner, nil), pair)
	mutual := server.RequireMutualTLS(configuration, domain)
	ours := server.Active(configuration, domain)
	server.Activate(configuration, domain, foreign(t, server, versions(t, both, 9)[0]))

	sink := open(t, server, sinktest.Owner, nil)
	observed := observe(t, sink, targets(t, sink, domain)[0])
	if len(observed.Deviations) != 1 || observed.Deviations[0].Kind != fastly.DeviationActivation || !strings.Contains(observed.Deviations[0].Detail, "uploaded by hand") {
		t.Errorf("the deviations are %+v, want that of the activation", observed.Deviations)
	}
	if observed.Mark == nil || *observed.Mark != anycert.MarkOf(sinktest.Owner, pair.Entry) {
		t.Errorf("the mark is %+v, want ours", observed.Mark)
	}
	before := len(server.Requests())
	if pushed := pass(t, sink, pair); len(pushed) != 1 {
		t.Errorf("pushed to %q, want the moved target alone", pushed)
	}
	if got := writes(server, before); len(got) != 1 || got[0] != "PATCH activations" {
		t.Errorf("the writes are %q, want one move", got)
	}
	if got := server.Active(configuration, domain); got != ours {
		t.Errorf("the activation points at %s, want %s", got, ours)
	}
	if got := server.MutualTLS(configuration, domain); got != mutual {
		t.Errorf("the mutual authentication is %q, want %q", got, mutual)
	}
	if n := len(server.Certificates()); n != 2 {
		t.Errorf("the account has %d certificates, want ours and the one of somebody else", n)
	}
}

// What another hub holds is not taken back, or the two would never end.
func TestMovedToAnotherHub(t *testing.T) {
	server := start(t)
	pair := versions(t, both, 1)[0]
	label := configuration + "/" + domain
	sink := open(t, server, sinktest.Owner, nil)
	pass(t, sink, pair)
	adopting := open(t, server, sinktest.OtherOwner, func(c *fastly.Config) { c.Adopt = []string{label} })
	target := targets(t, adopting, domain)[0]
	theirs := versions(t, both, 2)[0]
	if err := adopting.Push(t.Context(), target, theirs.Entry, theirs.Bundle); err != nil {
		t.Fatal(err)
	}
	if observed := observe(t, sink, target); !strings.Contains(observed.Foreign, sinktest.OtherOwner) {
		t.Errorf("Foreign is %q, want the other hub's name", observed.Foreign)
	}
	if err := sink.Push(t.Context(), target, pair.Entry, pair.Bundle); !errors.Is(err, anycert.ErrRefused) {
		t.Errorf("Push returned %v, want ErrRefused", err)
	}
	serves(t, server, configuration, domain, theirs)
}

// Adopting moves the activation; the certificate that had it stays.
func TestAdopt(t *testing.T) {
	server := start(t)
	stranger := versions(t, both, 7)[0]
	theirs := foreign(t, server, stranger)
	server.Activate(configuration, domain, theirs)
	mutual := server.RequireMutualTLS(configuration, domain)

	sink := open(t, server, sinktest.Owner, func(c *fastly.Config) { c.Adopt = []string{configuration + "/" + domain} })
	target := targets(t, sink, domain)[0]
	observed := observe(t, sink, target)
	if observed.Foreign != "" || len(observed.Deviations) != 1 || observed.Mark != nil {
		t.Errorf("observed %+v, want what is to be adopted", observed)
	}
	pair := versions(t, both, 1)[0]
	pass(t, sink, pair)
	serves(t, server, configuration, domain, pair)
	if got := server.MutualTLS(configuration, domain); got != mutual {
		t.Errorf("the mutual authentication is %q, want %q", got, mutual)
	}
	if all := server.Certificates(); all[0].ID != theirs || all[0].Name != "uploaded by hand" {
		t.Errorf("the certificate of somebody else is gone: %+v", all)
	}
}

// The certificate that is already activated may be the very one of the store, put
// there by hand before: adopting it is a change all the same.
func TestAdoptTheSameCertificate(t *testing.T) {
	server := start(t)
	pair := versions(t, both, 1)[0]
	keyOf(t, server, "uploaded by hand", pair)
	server.Activate(configuration, domain, foreign(t, server, pair))
	sink := open(t, server, sinktest.Owner, func(c *fastly.Config) { c.Adopt = []string{configuration + "/" + domain} })
	if observed := observe(t, sink, targets(t, sink, domain)[0]); len(observed.Deviations) == 0 {
		t.Errorf("observed %+v: it would be left without our mark for ever", observed)
	}
}

// A subscription names the TLS configuration that it began with; where it serves
// now the activation tells.
func TestSubscriptionInAnotherConfiguration(t *testing.T) {
	server := start(t)
	if _, err := server.AddSubscription(second, []string{domain}, versions(t, both, 7)[0].Bundle.FullChainPEM()); err != nil {
		t.Fatal(err)
	}
	sink := open(t, server, sinktest.Owner, func(c *fastly.Config) { c.Adopt = []string{second + "/" + domain} })
	all := targets(t, sink, domain)
	if observed := observe(t, sink, all[0]); observed.Foreign != "" {
		t.Errorf("%s is foreign (%s), want free", all[0].Label, observed.Foreign)
	}
	if observed := observe(t, sink, all[1]); !strings.Contains(observed.Foreign, "delete the subscription") {
		t.Errorf("%s: Foreign is %q, want the remedy, adopted or not", all[1].Label, observed.Foreign)
	}
}

// Two sinks on one account share the object of a certificate, and each leaves the
// other's activations and orphans alone.
func TestTwoSinksOnOneAccount(t *testing.T) {
	server := start(t)
	only := func(id string) func(*fastly.Config) {
		return func(c *fastly.Config) { c.Configurations = []string{id} }
	}
	here, there := open(t, server, sinktest.Owner, only(configuration)), open(t, server, sinktest.Owner, only(second))
	pairs := versions(t, both, 1, 2)
	for _, pair := range pairs {
		pass(t, here, pair)
		pass(t, there, pair)
	}
	if n := len(server.Certificates()); n != 1 {
		t.Errorf("the account has %d certificates, want one for both sinks", n)
	}
	before := len(server.Requests())
	if a, b := pass(t, here, pairs[1]), pass(t, there, pairs[1]); len(a)+len(b) != 0 || len(writes(server, before)) != 0 {
		t.Errorf("a further pass pushed to %q and %q", a, b)
	}
	// The claims of the other sink's places were kept: each mends its own.
	stranger := foreign(t, server, versions(t, both, 9)[0])
	server.Activate(configuration, domain, stranger)
	server.Activate(second, domain, stranger)
	pass(t, here, pairs[1])
	pass(t, there, pairs[1])
	serves(t, server, configuration, domain, pairs[1])
	serves(t, server, second, domain, pairs[1])

	// A certificate that only the other sink declares.
	shop := sinktest.Issue(t, "shop", []string{"shop.example.org"}, 1)[0]
	target, err := there.Targets("shop", []string{"shop.example.org"})
	if err != nil {
		t.Fatal(err)
	}
	if err := there.Push(t.Context(), target[0], shop.Entry, shop.Bundle); err != nil {
		t.Fatal(err)
	}
	if orphans, err := here.Orphans(t.Context(), targets(t, here, both...)); err != nil || len(orphans) != 0 {
		t.Errorf("Orphans returned (%+v, %v), want nothing of the other sink's", orphans, err)
	}
}
