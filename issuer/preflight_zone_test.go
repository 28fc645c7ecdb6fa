package issuer_test

import (
	"testing"

	"github.com/miekg/dns"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/acmeserver"
	"github.com/anycert/anycert/issuer"
	"github.com/anycert/anycert/issuer/dns01"
)

// A domain in no zone is for a person to mend, and is found before the CA is asked: by a
// probe, and by an order.
func TestNoSuchZone(t *testing.T) {
	const name = "_acme-challenge.www.example.net"
	for _, test := range []struct {
		name  string
		spoil func(w *world)
		mend  func(w *world)
		who   dns01.Propagation
		says  string
	}{
		{name: "the resolvers show none", who: dns01.Recursive,
			spoil: func(*world) {}, mend: func(w *world) { w.dns.AddZone("example.net") },
			says: "no zone holds " + name + ": no name above it has a SOA record: let the resolvers show the zone, name it in DNSUPDATE_ZONES, or correct the domain"},
		{name: "the server that is updated does not serve it", who: dns01.Authoritative,
			spoil: func(w *world) { w.dns.AddZone("example.net"); w.dns.FailQueries("www.example.net", dns.RcodeRefused) },
			mend:  func(w *world) { w.dns.FailQueries("www.example.net", dns.RcodeSuccess) },
			says:  " answers REFUSED: let it serve the zone, and answer queries about it from here, or name the zone in DNSUPDATE_ZONES"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, acmeserver.Options{})
			test.spoil(w)
			i := w.issuer(func(c *issuer.Config) { c.DNS[0].Propagation = test.who })
			c := certificate("site", "www.example.net")
			_, err := i.Probe(limited(t), "pebble", []anycert.Certificate{c}, true)
			wantError(t, err, "issuer pebble: certificate site: www.example.net: DNS provider rfc2136 could not write a trial record: ", test.says)
			wantNotSaid(t, err, "it is to be able to add") // which is about a credential
			_, err = i.Obtain(limited(t), c)
			wantError(t, err, "the CA was not asked, since it would fail: ", test.says)
			if n := w.acme.Count()[acmeserver.KindNewOrder]; n != 0 {
				t.Errorf("the CA was asked for %d orders", n)
			}
			if renewal := i.Renewal(c, nil, w.now()); renewal.Failure == nil || renewal.Failure.Class != anycert.ToMend {
				t.Errorf("the renewal is %+v", renewal)
			}
			test.mend(w)
			if _, err := i.Probe(limited(t), "pebble", []anycert.Certificate{c}, true); err != nil {
				t.Errorf("mended: %v", err)
			}
		})
	}
}
