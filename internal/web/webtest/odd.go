package webtest

import (
	"strings"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/reconcile"
)

// Odd are hubs that a page is seldom made for, by what is odd about them.
func Odd() map[string]reconcile.View {
	return map[string]reconcile.View{
		"empty":  {Time: Now, Owner: "example-prod"},
		"begins": begins(),
		"long":   long(),
		"sealed": sealed(),
		"canary": canary(),
		"brake":  brake(),
	}
}

// begins is a process that has looked at nothing yet.
func begins() reconcile.View {
	e := &example{view: reconcile.View{Time: Now, Owner: "example-prod"}}
	e.add("example", "web team", 0, 90, 0, "example.com")
	e.never("prod-eu", "edge")
	e.view.Sinks = []reconcile.SinkView{{Name: "edge", Type: "fastly"}, {Name: "prod-eu", Type: "kubernetes"}, {Name: "old", Type: "file", Suspended: true}}
	return e.view
}

// never makes the last certificate one that was never issued.
func (e *example) never(unseen ...string) {
	c := e.last()
	c.State, c.Version, c.NotBefore, c.NotAfter, c.Digest, c.Unseen = reconcile.Pending, 0, nil, nil, "", unseen
	due := Now.Add(-time.Minute)
	c.Renewal, c.Why = &due, "nothing was issued yet"
}

// long has texts that are as long as they get, and break nowhere.
func long() reconcile.View {
	label, word := strings.Repeat("a", 63), strings.Repeat("x", 120)
	name := strings.Join([]string{label, label, label, label[:61]}, ".")
	e := &example{view: reconcile.View{Time: Now, Owner: strings.Repeat("hub", 21), Looked: Now}}
	e.add(label, strings.Repeat("owner", 20), 12345, 90, 89, name, "*."+name[2:], "b"+name[1:], "c"+name[1:])
	e.last().Issuer, e.last().Description = label, strings.Repeat("description ", 20)+word
	e.ill(reconcile.Unknown, label, "kubernetes", name+"/"+name, "reading "+word+": "+strings.Repeat("and so on ", 30), 400*24*time.Hour)
	e.astray(label, name+"/"+name, "192.0.2.7 serves "+word, word)
	e.view.Sinks = []reconcile.SinkView{{Name: label, Type: "kubernetes", Verdicts: map[reconcile.Verdict]int{reconcile.Unknown: 12345},
		Passes: []reconcile.Pass{{Began: Now.Add(-26 * time.Hour), Ended: Now, Failing: 12345}}}}
	e.view.Alarms = []reconcile.Alarm{{Severity: reconcile.Critical, Text: "certificate " + label + ": " + word, Owner: strings.Repeat("owner", 20), Since: Now.AddDate(-1, 0, 0)}}
	e.view.Changes = []reconcile.Change{{Time: Now, Certificate: label, Sink: label, Target: name, Version: 12345, What: "unknown", Why: word}}
	return e.view
}

// sealed is a hub whose store does not answer: what was read last is shown, and why it is
// no longer known.
func sealed() reconcile.View {
	const why = "Vault is sealed: unseal it"
	e := &example{view: reconcile.View{Time: Now, Owner: "example-prod", Looked: Now.Add(-20 * time.Second)}}
	for _, name := range []string{"example", "shop"} {
		e.add(name, "web team", 14, 90, 33, name+".example.com")
		e.last().Problem = "the store cannot be read: " + why
		e.ill(reconcile.Unknown, "prod-eu", "kubernetes", "web/"+name+"-tls", "the store cannot be read: "+why, 4*time.Minute)
	}
	e.add("first", "shop team", 0, 90, 0, "first.example.com")
	e.never()
	e.last().State, e.last().Problem = reconcile.Failing, "the store cannot be read: "+why
	e.view.Sinks = []reconcile.SinkView{{Name: "prod-eu", Type: "kubernetes", Stale: true, Verdicts: map[reconcile.Verdict]int{reconcile.Unknown: 2},
		Passes: []reconcile.Pass{{Began: Now.Add(-20 * time.Minute), Ended: Now.Add(-20 * time.Minute), Failing: 2}}}}
	e.view.Alarms = []reconcile.Alarm{{Key: "store", Kind: reconcile.StoreAlarm, Severity: reconcile.Critical, Text: "the store cannot be read: " + why, Since: Now.Add(-4 * time.Minute)}}
	return e.view
}

// canary is a new version that is at its canary, and nowhere else yet.
func canary() reconcile.View {
	e := &example{view: reconcile.View{Time: Now, Owner: "example-prod", Looked: Now.Add(-38 * time.Second)}}
	e.add("example", "web team", 15, 90, 0, "example.com", "*.example.com")
	e.well("prod-eu", "kubernetes", "web/example-tls")
	e.waits("edge", "fastly", "example.com", "canary prod-eu has version 15 since 2026-03-17 09:38Z: the others follow at 2026-03-17 09:48Z; what is served stays, until 2026-04-20 06:41Z at the latest", 3*time.Minute)
	return e.view
}

// brake is a pass that would replace too much.
func brake() reconcile.View {
	e := &example{view: reconcile.View{Time: Now, Owner: "example-prod", Looked: Now.Add(-38 * time.Second)}}
	for _, name := range []string{"example", "shop", "mail"} {
		e.add(name, "web team", 3, 90, 33, name+".example.com")
		e.promise(reconcile.Promise{Sink: "prod-eu", Type: "kubernetes", Target: "web/" + name + "-tls", Verdict: reconcile.Held, Evidence: anycert.Exact,
			Reason: "brake: 12 of 20 valid certificates would be replaced at once by what no issuer just made (here: version 3, written by hand at 2026-03-17 09:38Z): what is served stays; if that is right, run `anycert sync --yes`"}, 2*time.Minute)
		e.last().State = reconcile.Failing
	}
	return e.view
}
