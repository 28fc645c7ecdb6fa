package webtest

import (
	"fmt"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/reconcile"
)

// Now is the moment of every View that is made here.
var Now = time.Date(2026, 3, 17, 9, 41, 0, 0, time.UTC)

// Fixed is a daemon that shows one view for ever.
type Fixed struct{ Shown reconcile.View }

func (f Fixed) Live(time.Time) error          { return nil }
func (f Fixed) Ready(time.Time) []string      { return nil }
func (f Fixed) Snapshot() reconcile.Snapshot  { return reconcile.Snapshot{} }
func (f Fixed) View(time.Time) reconcile.View { return f.Shown }

// Example is a hub as one meets it: most is well, one certificate cannot be renewed, one
// place cannot be reached, and a new one is on its way.
func Example() reconcile.View {
	e := &example{view: reconcile.View{Time: Now, Owner: "example-prod", Looked: Now.Add(-38 * time.Second)}}
	e.add("example", "web team", 14, 90, 33, "example.com", "*.example.com")
	e.well("prod-eu", "kubernetes", "web/example-tls", "api/example-tls", "ingress/example-tls")
	e.well("prod-us", "kubernetes", "web/example-tls", "api/example-tls")
	e.well("edge", "fastly", "example.com", "*.example.com")
	e.well("nginx", "file", "/etc/ssl/anycert/example")
	e.astray("edge", "*.example.com", "192.0.2.7 serves version 13, until 2026-04-20", "the target holds the current one, and Fastly goes on serving the old one: it has activated nothing, so look at its TLS configuration")
	e.add("shop", "shop team", 6, 90, 64, "shop.example.com", "pay.example.com", "cart.example.com", "img.shop.example.com", "cdn.shop.example.com")
	e.fails(anycert.ToMend, "DNS problem: the CAA record of shop.example.com allows only other.example: allow letsencrypt.org there", 3)
	e.well("prod-eu", "kubernetes", "shop/shop-tls")
	e.well("edge", "fastly", "shop.example.com")
	e.add("mail", "platform", 31, 47, 12, "mail.example.com", "imap.example.com", "smtp.example.com")
	e.ill(reconcile.Unknown, "fra-2", "file", "/etc/ssl/anycert/mail", "the folder cannot be read: permission denied: run anycert as the user that owns it", 3*time.Hour)
	e.well("fra-1", "file", "/etc/ssl/anycert/mail")
	e.add("status", "", 1, 90, 1, "status.example.com")
	e.waits("app", "fly", "status.example.com", "the provider has not activated it yet", 4*time.Minute)
	e.add("internal", "platform", 212, 7, 3, "*.internal.example.com", "vault.internal.example.com")
	e.well("prod-eu", "kubernetes", "vault/internal-tls")
	e.add("docs", "web team", 9, 90, 20, "docs.example.com")
	e.well("app", "fly", "docs.example.com")
	e.add("legacy", "finance", 2, 365, 120, "legacy.example.org")
	e.last().Suspended, e.last().State, e.last().Renewal, e.last().Promises = true, reconcile.Suspended, nil, nil
	e.sinks()
	e.changes()
	e.view.Alarms = []reconcile.Alarm{
		{Key: "promise/mail/fra-2", Kind: reconcile.PromiseAlarm, Severity: reconcile.Warning, Certificate: "mail", Owner: "platform", Sink: "fra-2", Since: Now.Add(-3 * time.Hour),
			Text: "certificate mail is not where it belongs at sink fra-2: the folder cannot be read: permission denied: run anycert as the user that owns it"},
		{Key: "wire/edge/example", Kind: reconcile.WireAlarm, Severity: reconcile.Warning, Certificate: "example", Owner: "web team", Sink: "edge", Target: "*.example.com", Since: Now.Add(-22 * time.Minute),
			Text: "certificate example is not what the world is served at sink edge: 192.0.2.7 serves version 13, until 2026-04-20"},
		{Key: "renewal/shop", Kind: reconcile.RenewalAlarm, Severity: reconcile.Critical, Certificate: "shop", Owner: "shop team", Since: Now.Add(-26 * time.Hour),
			Text: "certificate shop could not be obtained from letsencrypt (to mend): the CAA record of shop.example.com allows only other.example: allow letsencrypt.org there"},
	}
	return e.view
}

// Many is an Example among n promises more, each of a certificate of its own.
func Many(n int) reconcile.View {
	e := &example{view: Example()}
	for i := range n {
		name := fmt.Sprintf("customer-%05d", i)
		e.add(name, fmt.Sprintf("team %d", i%17), 1+i%30, 90, i%58, fmt.Sprintf("c%05d.example.org", i), fmt.Sprintf("www.c%05d.example.org", i))
		sink := []string{"prod-eu", "prod-us", "edge", "app", "nginx"}[i%5]
		if i%997 == 0 {
			e.ill(reconcile.Broken, sink, "kubernetes", "customers/"+name+"-tls", "another certificate is there", 2*time.Minute)
			continue
		}
		e.well(sink, "kubernetes", "customers/"+name+"-tls")
	}
	return e.view
}

type example struct{ view reconcile.View }

func (e *example) last() *reconcile.CertificateView {
	return &e.view.Certificates[len(e.view.Certificates)-1]
}

// add declares a certificate that lives for so many days, of which some have passed.
func (e *example) add(name, owner string, version, days, passed int, domains ...string) {
	begins := Now.AddDate(0, 0, -passed).Add(-3 * time.Hour)
	ends := begins.AddDate(0, 0, days)
	renewal := begins.AddDate(0, 0, days*2/3)
	c := reconcile.CertificateView{State: reconcile.Well}
	c.Name, c.Owner, c.Domains, c.Issuer, c.Version = name, owner, domains, "letsencrypt", version
	c.NotBefore, c.NotAfter, c.Renewal, c.Why = &begins, &ends, &renewal, "a third of its lifetime is left"
	c.Digest = "sha256:8d969eef6ecad3c29a3a629280e686cf0c3f5d5a86aff3ca12020c923adc6c92"
	e.view.Certificates = append(e.view.Certificates, c)
}

func (e *example) promise(p reconcile.Promise, age time.Duration) {
	c := e.last()
	p.Certificate, p.Version, p.NotAfter, p.Key = c.Name, c.Version, c.NotAfter, p.Type+"://"+p.Sink+"/"+p.Target
	seen := reconcile.PromiseView{Promise: &p, Seen: Now.Add(-36 * time.Second), Since: Now.Add(-age)}
	if p.Verdict == reconcile.Kept {
		seen.Verified = seen.Seen
	}
	c.Promises = append(c.Promises, seen)
}

func (e *example) well(sink, kind string, targets ...string) {
	evidence := anycert.Exact
	if kind == "fastly" || kind == "fly" {
		evidence = anycert.Serial
	}
	for _, target := range targets {
		e.promise(reconcile.Promise{Sink: sink, Type: kind, Target: target, Verdict: reconcile.Kept, Evidence: evidence}, 33*24*time.Hour)
	}
}

func (e *example) ill(verdict reconcile.Verdict, sink, kind, target, reason string, age time.Duration) {
	e.promise(reconcile.Promise{Sink: sink, Type: kind, Target: target, Verdict: verdict, Reason: reason}, age)
	e.last().State = reconcile.Failing
}

// astray is a promise that is kept, while the world is served something else.
func (e *example) astray(sink, target, text, remedy string) {
	e.last().State = reconcile.Failing
	for i := range e.last().Promises {
		p := &e.last().Promises[i]
		switch {
		case p.Sink != sink:
		case p.Target == target:
			p.Astray, p.Wire = true, &reconcile.Wire{State: reconcile.WireBehind, Text: text, Remedy: remedy, Time: Now.Add(-50 * time.Second),
				Addresses: []reconcile.WireAddress{{Endpoint: "example.com:443", IP: "192.0.2.7", State: reconcile.WireBehind, Text: "version 13"}}}
		default:
			p.Wire = &reconcile.Wire{State: reconcile.WireServed, Time: Now.Add(-50 * time.Second),
				Addresses: []reconcile.WireAddress{{Endpoint: "example.com:443", IP: "192.0.2.8", State: reconcile.WireServed}}}
		}
	}
}

func (e *example) waits(sink, kind, target, reason string, age time.Duration) {
	e.promise(reconcile.Promise{Sink: sink, Type: kind, Target: target, Verdict: reconcile.Waiting, Reason: reason}, age)
	e.last().State = reconcile.Pending
}

func (e *example) fails(class anycert.FailureClass, text string, attempts int) {
	c := e.last()
	c.State, c.Problem = reconcile.Failing, text
	c.Failure = &reconcile.FailureStatus{Class: class, Issuer: "letsencrypt", Text: text, Attempts: attempts,
		Since: Now.Add(-26 * time.Hour), Last: Now.Add(-2 * time.Hour), Next: Now.Add(4 * time.Hour)}
}

func (e *example) sinks() {
	for i, s := range []struct {
		name, kind string
		took       time.Duration
		verdicts   map[reconcile.Verdict]int
	}{
		{"app", "fly", 640 * time.Millisecond, map[reconcile.Verdict]int{reconcile.Kept: 1, reconcile.Waiting: 1}},
		{"edge", "fastly", 910 * time.Millisecond, map[reconcile.Verdict]int{reconcile.Kept: 3}},
		{"fra-1", "file", 6 * time.Millisecond, map[reconcile.Verdict]int{reconcile.Kept: 1}},
		{"fra-2", "file", 5 * time.Millisecond, map[reconcile.Verdict]int{reconcile.Unknown: 1}},
		{"nginx", "file", 7 * time.Millisecond, map[reconcile.Verdict]int{reconcile.Kept: 1}},
		{"prod-eu", "kubernetes", 120 * time.Millisecond, map[reconcile.Verdict]int{reconcile.Kept: 5}},
		{"prod-us", "kubernetes", 180 * time.Millisecond, map[reconcile.Verdict]int{reconcile.Kept: 2}},
	} {
		view := reconcile.SinkView{Name: s.name, Type: s.kind, Verdicts: s.verdicts}
		for n := 59; n >= 0; n-- {
			took := s.took + s.took*time.Duration((n*7+i*5)%11)/20
			pass := reconcile.Pass{Ended: Now.Add(-time.Duration(n)*time.Minute - 36*time.Second), Kept: s.verdicts[reconcile.Kept],
				Waiting: s.verdicts[reconcile.Waiting], Failing: s.verdicts[reconcile.Unknown]}
			if n == 23 && s.kind != "file" {
				pass.Pushed, took = 1, took*2
			}
			pass.Began = pass.Ended.Add(-took)
			view.Passes = append(view.Passes, pass)
		}
		e.view.Sinks = append(e.view.Sinks, view)
	}
}

func (e *example) changes() {
	e.view.Changes = []reconcile.Change{
		{Time: Now.Add(-4 * time.Minute), Kind: reconcile.PushChange, Well: true, Certificate: "status", Sink: "app", Target: "status.example.com", Version: 1, What: "created", Why: "nothing is there"},
		{Time: Now.Add(-5 * time.Minute), Kind: reconcile.OrderChange, Well: true, Certificate: "status", Version: 1, What: "obtained", Why: "nothing was issued yet"},
		{Time: Now.Add(-23 * time.Minute), Kind: reconcile.PushChange, Well: true, Certificate: "example", Sink: "prod-eu", Target: "api/example-tls", Version: 14, What: "replaced", Why: "another certificate is there: CN=api.example.com, until 2026-05-02"},
		{Time: Now.Add(-2 * time.Hour), Kind: reconcile.OrderChange, Certificate: "shop", What: "order failed", Why: "the CAA record of shop.example.com allows only other.example: allow letsencrypt.org there"},
		{Time: Now.Add(-3 * time.Hour), Kind: reconcile.PromiseChange, Certificate: "mail", Sink: "fra-2", Target: "/etc/ssl/anycert/mail", Version: 31, What: "unknown", Why: "the folder cannot be read: permission denied: run anycert as the user that owns it"},
		{Time: Now.AddDate(0, 0, -1), Kind: reconcile.PushChange, Well: true, Certificate: "docs", Sink: "app", Target: "docs.example.com", Version: 9, What: "mended", Why: "the hostname had lost its certificate"},
	}
}
