package fastly_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/sinks/fastly"
	"github.com/anycert/anycert/sinks/sinktest"
)

var both = []string{domain, "*.example.com"}

// One upload serves all targets: two names in two configurations.
func TestOneUploadForAllTargets(t *testing.T) {
	server := start(t)
	sink := open(t, server, sinktest.Owner, nil)
	pair := versions(t, both, 1)[0]
	if pushed := pass(t, sink, pair); len(pushed) != 4 {
		t.Fatalf("pushed to %q, want four targets", pushed)
	}
	want := []string{"POST private_keys", "POST certificates", "POST activations", "POST activations", "POST activations", "POST activations"}
	if diff := cmp.Diff(want, writes(server, 0)); diff != "" {
		t.Errorf("first pass (-want +got):\n%s", diff)
	}
	before := len(server.Requests())
	if pushed := pass(t, sink, pair); len(pushed) != 0 {
		t.Errorf("the second pass pushed to %q", pushed)
	}
	if diff := cmp.Diff([]string(nil), writes(server, before)); diff != "" {
		t.Errorf("second pass (-want +got):\n%s", diff)
	}
}

// A renewal replaces the certificate in place, for all targets at once, and takes
// the old key away.
func TestRenewalKeepsIDAndActivations(t *testing.T) {
	server := start(t)
	sink := open(t, server, sinktest.Owner, nil)
	pairs := versions(t, both, 1, 2)
	pass(t, sink, pairs[0])
	id, before := server.Active(configuration, domain), len(server.Requests())
	if pushed := pass(t, sink, pairs[1]); len(pushed) != 4 {
		t.Errorf("pushed to %q, want four targets", pushed)
	}
	want := []string{"POST private_keys", "PATCH certificates", "DELETE private_keys"}
	if diff := cmp.Diff(want, writes(server, before)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, target := range targets(t, sink, both...) {
		configuration, domain := place(target)
		serves(t, server, configuration, domain, pairs[1])
		if got := server.Active(configuration, domain); got != id {
			t.Errorf("%s is served by certificate %s, want %s as before", target.Label, got, id)
		}
	}
}

func TestNamesGrow(t *testing.T) {
	server := start(t)
	sink := open(t, server, sinktest.Owner, nil)
	small, grown := versions(t, []string{domain}, 1)[0], versions(t, []string{domain, "shop.example.com"}, 2)[0]
	pass(t, sink, small)
	id, before := server.Active(configuration, domain), len(server.Requests())
	pass(t, sink, grown)
	want := []string{"POST private_keys", "PATCH certificates", "DELETE private_keys", "POST activations", "POST activations"}
	if diff := cmp.Diff(want, writes(server, before)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := server.Active(second, "shop.example.com"); got != id {
		t.Errorf("the new name is served by certificate %q, want %s", got, id)
	}
}

// When names shrink, a new object is made, each activation moved with its mutual
// TLS, and the old one deleted; the name that was dropped is served as it was.
func TestNamesShrink(t *testing.T) {
	server := start(t)
	sink := open(t, server, sinktest.Owner, nil)
	large, small := versions(t, []string{domain, "shop.example.com"}, 1)[0], versions(t, []string{domain}, 2)[0]
	pass(t, sink, large)
	for _, c := range []string{configuration, second} { // a person ended its use
		server.Deactivate(c, "shop.example.com")
	}
	mutual := server.RequireMutualTLS(second, domain)
	id, before := server.Active(configuration, domain), len(server.Requests())
	if pushed := pass(t, sink, small); len(pushed) != 2 {
		t.Errorf("pushed to %q, want two targets", pushed)
	}
	want := []string{"POST private_keys", "POST certificates", "PATCH activations", "PATCH activations", "DELETE certificates", "DELETE private_keys"}
	if diff := cmp.Diff(want, writes(server, before)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := server.Active(configuration, domain); got == id || got == "" {
		t.Errorf("%s is served by certificate %q, want a new one", domain, got)
	}
	if got := server.MutualTLS(second, domain); got != mutual {
		t.Errorf("the mutual authentication is %q after the move, want %q", got, mutual)
	}
	if all := server.Certificates(); len(all) != 1 {
		t.Errorf("the account has %+v, want the new certificate alone", all)
	}
}

// A name that was dropped and is still activated is not switched off (law 4): it
// keeps its certificate, which is an orphan that Remove leaves alone.
func TestShrunkNameIsStillServed(t *testing.T) {
	server := start(t)
	sink := open(t, server, sinktest.Owner, nil)
	large, small := versions(t, []string{domain, "shop.example.com"}, 1)[0], versions(t, []string{domain}, 2)[0]
	pass(t, sink, large)
	first := len(server.Requests())
	pass(t, sink, small)
	// What is in use is not even tried: that Fastly refuses it is not certain.
	want := []string{"POST private_keys", "POST certificates", "PATCH activations", "PATCH activations"}
	if diff := cmp.Diff(want, writes(server, first)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	serves(t, server, configuration, "shop.example.com", large)
	serves(t, server, configuration, domain, small)
	orphans, err := sink.Orphans(t.Context(), targets(t, sink, domain))
	if err != nil || len(orphans) != 1 {
		t.Fatalf("Orphans returned (%+v, %v), want the old certificate", orphans, err)
	}
	if err := sink.Remove(t.Context(), orphans[0]); !errors.Is(err, anycert.ErrRefused) || !strings.Contains(err.Error(), "shop.example.com") {
		t.Errorf("Remove returned %v, want ErrRefused that names what is served", err)
	}
	before := len(server.Requests())
	if pushed := pass(t, sink, small); len(pushed) != 0 || len(writes(server, before)) != 0 {
		t.Errorf("a further pass pushed to %q and wrote %q", pushed, writes(server, before))
	}
}

// Whichever write of a shrinking push fails, nothing is ever without a certificate,
// and the next pass ends the work.
func TestShrinkingIsResumed(t *testing.T) {
	large, small := versions(t, []string{domain, "shop.example.com"}, 1)[0], versions(t, []string{domain}, 2)[0]
	for nth := 1; nth <= 4; nth++ {
		for _, how := range []string{"refused", "lost"} {
			t.Run(fmt.Sprintf("write %d %s", nth, how), func(t *testing.T) {
				server := start(t)
				sink := open(t, server, sinktest.Owner, nil)
				pass(t, sink, large)
				for _, c := range []string{configuration, second} {
					server.Deactivate(c, "shop.example.com")
				}
				if how == "lost" {
					server.LoseWrite(nth)
				} else {
					server.FailWrite(nth)
				}
				if err := sink.Push(t.Context(), targets(t, sink, domain)[0], small.Entry, small.Bundle); err == nil {
					t.Error("Push reports success")
				}
				for _, c := range []string{configuration, second} {
					if server.Active(c, domain) == "" {
						t.Errorf("%s/%s is without a certificate", c, domain)
					}
				}
				fresh := open(t, server, sinktest.Owner, nil)
				pass(t, fresh, small)
				serves(t, server, configuration, domain, small)
				serves(t, server, second, domain, small)
				if all := server.Certificates(); len(all) > 1 {
					// The pass found nothing broken any more: what is left is an orphan.
					orphans, err := fresh.Orphans(t.Context(), targets(t, fresh, domain))
					if err != nil || len(orphans) == 0 {
						t.Errorf("the account has %+v, and Orphans returned (%+v, %v)", all, orphans, err)
					}
				}
			})
		}
	}
}

// Only keys of ours that nothing uses are removed: seatgeek's operator deleted every
// unused key of the account.
func TestOthersKeysStay(t *testing.T) {
	server := start(t)
	sink := open(t, server, sinktest.Owner, nil)
	pairs := versions(t, both, 1, 2, 3, 4, 5)
	foreignMark := anycert.MarkOf(sinktest.OtherOwner, pairs[2].Entry)
	otherMark := anycert.MarkOf(sinktest.Owner, pairs[3].Entry)
	otherMark.Certificate = "shop"
	keyOf(t, server, "uploaded by hand", pairs[1])
	keyOf(t, server, name(foreignMark), pairs[2])
	keyOf(t, server, name(otherMark), pairs[3])
	stay := sorted(keyNames(server))

	pass(t, sink, pairs[0])
	pass(t, sink, pairs[4])
	if got := len(server.Keys()); got != len(stay)+1 {
		t.Errorf("the account has %d keys, want the %d of others and one of ours: %q", got, len(stay), keyNames(server))
	}
	for _, name := range stay {
		if !slices.Contains(keyNames(server), name) {
			t.Errorf("the key %q is gone", name)
		}
	}
}

// A key that was uploaded by hand is used, and not removed at the next renewal.
func TestKeyOfSomebodyElseIsUsedAndStays(t *testing.T) {
	server := start(t)
	sink := open(t, server, sinktest.Owner, nil)
	pairs := versions(t, both, 1, 2)
	keyOf(t, server, "uploaded by hand", pairs[0])
	pass(t, sink, pairs[0])
	pass(t, sink, pairs[1])
	if !slices.Contains(keyNames(server), "uploaded by hand") {
		t.Error("the key that somebody uploaded by hand is gone")
	}
}

func TestReusedKeyIsNotPostedAgain(t *testing.T) {
	server := start(t)
	sink := open(t, server, sinktest.Owner, nil)
	key, err := certs.NewKey(certs.EC256)
	if err != nil {
		t.Fatal(err)
	}
	pass(t, sink, pairOf(t, 1, certs.Options{Key: key}))
	renewed := pairOf(t, 2, certs.Options{Key: key})
	pass(t, sink, renewed)
	serves(t, server, configuration, domain, renewed)
	if got := server.Count(post, "/tls/private_keys"); got != 1 || len(server.Keys()) != 1 {
		t.Errorf("the key was posted %d times and is there %d times, want once", got, len(server.Keys()))
	}
	// Its orphan takes the key along, whose mark is that of the first version.
	for _, c := range []string{configuration, second} {
		server.Deactivate(c, domain)
	}
	orphans, err := sink.Orphans(t.Context(), nil)
	if err != nil || len(orphans) != 1 {
		t.Fatalf("Orphans returned (%+v, %v)", orphans, err)
	}
	if err := sink.Remove(t.Context(), orphans[0]); err != nil || len(server.Keys()) != 0 {
		t.Errorf("Remove returned %v and left the keys %q", err, keyNames(server))
	}
}

// The listing of unused keys may be late: the key of the version that was just pushed
// is not removed because of it, though its mark is that of an older one.
func TestLateListingOfUnusedKeys(t *testing.T) {
	server := start(t)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		query.Del("filter[in_use]")
		r.URL.RawQuery = query.Encode()
		server.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	sink := open(t, server, sinktest.Owner, func(c *fastly.Config) { c.Endpoint = front.URL })
	key, err := certs.NewKey(certs.EC256)
	if err != nil {
		t.Fatal(err)
	}
	pass(t, sink, pairOf(t, 1, certs.Options{Key: key}))
	before := len(server.Requests())
	pass(t, sink, pairOf(t, 2, certs.Options{Key: key}))
	if diff := cmp.Diff([]string{"PATCH certificates"}, writes(server, before)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// An activation that somebody moves between our looking and our writing is left.
func TestMovedMeanwhile(t *testing.T) {
	server := start(t)
	pair := versions(t, both, 1)[0]
	pass(t, open(t, server, sinktest.Owner, nil), pair)
	server.Activate(configuration, domain, foreign(t, server, versions(t, both, 8)[0]))
	later := foreign(t, server, versions(t, both, 9)[0])
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/tls/activations/") {
			server.Activate(configuration, domain, later)
		}
		server.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	sink := open(t, server, sinktest.Owner, func(c *fastly.Config) { c.Endpoint = front.URL })
	before := server.Writes()
	err := sink.Push(t.Context(), targets(t, sink, domain)[0], pair.Entry, pair.Bundle)
	if !errors.Is(err, anycert.ErrConflict) || server.Writes() != before {
		t.Errorf("Push returned %v after %d writes, want ErrConflict and none", err, server.Writes()-before)
	}
}

func TestKeysThatFastlyDoesNotTake(t *testing.T) {
	for kind, bits := range map[certs.KeyType]string{certs.RSA3072: "3072", certs.RSA4096: "4096"} {
		server := start(t)
		sink := open(t, server, sinktest.Owner, nil)
		pair := pairOf(t, 1, certs.Options{KeyType: kind})
		err := sink.Push(t.Context(), targets(t, sink, domain)[0], pair.Entry, pair.Bundle)
		if !errors.Is(err, anycert.ErrUnfit) || !strings.Contains(err.Error(), bits) || !strings.Contains(err.Error(), "key_type") {
			t.Errorf("Push of an %s key returned %v, want ErrUnfit with the key and the remedy", kind, err)
		}
		if n := len(server.Requests()); n != 0 {
			t.Errorf("%d requests were made for a certificate that cannot be uploaded", n)
		}
	}
}

// A target whose name the bundle lost is an error, not a silent success.
func TestDomainThatTheBundleDoesNotName(t *testing.T) {
	server := start(t)
	sink := open(t, server, sinktest.Owner, nil)
	pairs := versions(t, []string{domain}, 1)
	err := sink.Push(t.Context(), targets(t, sink, "shop.example.com")[0], pairs[0].Entry, pairs[0].Bundle)
	if !errors.Is(err, anycert.ErrUnfit) {
		t.Errorf("Push returned %v, want ErrUnfit", err)
	}
}
