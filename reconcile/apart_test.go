package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/certs"
)

// cdn serves what it holds, at names that it knows, and has what is of others.
type cdn struct {
	anycert.Sink
	names  []string
	others []anycert.Lookalike
	err    error
}

func (c cdn) Front(anycert.Target) anycert.Front { return anycert.Front{Names: c.names, Public: true} }

func (c cdn) Lookalikes(context.Context, []string, []anycert.Target) ([]anycert.Lookalike, error) {
	return c.others, c.err
}

// Of a wildcard nobody knows a name to ask for: an audit says so once for a sink, and not
// where nobody is to look.
func TestAuditNamesWhatNobodyCanAskFor(t *testing.T) {
	for name, test := range map[string]struct {
		endpoints []anycert.Endpoint
		said      bool
	}{
		"nobody can":   {[]anycert.Endpoint{}, true},
		"somebody can": {[]anycert.Endpoint{app}, false},
		"nobody is to": {nil, false},
	} {
		w := newWorld(t, "edge")
		agent := &w.hub.Agents[0]
		agent.Sink = cdn{Sink: agent.Sink, names: []string{"*.example.com"}}
		agent.Endpoints = func(anycert.Certificate, anycert.Target) []anycert.Endpoint { return test.endpoints }
		w.sync()
		const want = "sink edge: nobody sees what the world is served of api/example, web/example, since nobody can ask for a wildcard: name a host of it under `verify`, or write `verify: false`"
		if notes := w.audit().Notes; slices.Contains(notes, want) != test.said || len(notes) > 1 {
			t.Errorf("%s: %q", name, notes)
		}
	}
}

// Look-alikes are listed apart: they are no difference, a right that nobody gave is a
// note, and what was seen beside it is told.
func TestAuditListsLookalikesApart(t *testing.T) {
	w := newWorld(t, "edge")
	agent := &w.hub.Agents[0]
	w.sync()
	agent.Sink = cdn{Sink: agent.Sink, others: []anycert.Lookalike{{Label: "web/old-tls", Names: []string{"example.com"}, Owner: "cert-manager"}},
		err: fmt.Errorf("%w to list the Secrets of api", anycert.ErrForbidden)}
	report := w.audit()
	var out strings.Builder
	report.WritePromises(&out, Plain)
	for _, want := range []string{
		"look-alike: web/old-tls at sink edge is not ours and is for names of certificate example: it is for example.com, of cert-manager\n",
		"note: sink edge: what looks like ours is not looked for: permission denied to list the Secrets of api\n",
	} {
		if strings.Count(out.String(), want) != 1 {
			t.Errorf("it does not say %q once:\n%s", want, out.String())
		}
	}
	if report.AuditExit() != ExitOK || len(report.Notes) != 1 {
		t.Errorf("exit %d, %q", report.AuditExit(), report.Notes)
	}
}

// Who asks for the status again and again sees the wire as often as a daemon looks.
func TestStatusAgainSeesTheWire(t *testing.T) {
	w, f := seenWorld(t)
	w.sync()
	status := w.hub.StatusAgain()
	state := func() WireState { return find(t, status(t.Context()), "prod", "web/example").Wire.State }
	for range 2 * wireEvery {
		if got := state(); got != WireServed {
			t.Fatal(got)
		}
	}
	if most := passes + 2*2; f.looks < passes || f.looks > most { // two targets, each in every tenth
		t.Errorf("what is well was looked at %d times of %d, want %d at most", f.looks, 2*wireEvery, most)
	}
	f.late = w.chain("example")
	w.put("example", certs.Options{})
	w.sync()
	f.fresh = w.chain("example")
	if got := state(); got != WireBehind {
		t.Error(got)
	}
	f.late, f.err = nil, errors.New("no connection: connection refused")
	report := status(t.Context())
	if all := report.WireDifferences(); len(all) != 1 || all[0].Certificate != "example" || !strings.Contains(all[0].String(), "wire: certificate example at prod api/example: app.example.com:443: no connection") {
		t.Errorf("%v", all)
	}
	f.err = nil
	if got := state(); got != WireServed {
		t.Error(got)
	}
}

// What the world is served where a version waits for its canary follows from that.
func TestWireOfWhatWaitsForACanary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := canaryWorld(t)
		w.hub.Agents[0].Endpoints = nil
		w.hub.Agents[1].Endpoints = func(anycert.Certificate, anycert.Target) []anycert.Endpoint { return []anycert.Endpoint{app} }
		w.put("example", certs.Options{})
		report := w.hub.Sync(t.Context(), SyncOptions{})
		wantWaiting(t, report, "the others follow at")
		report = w.audit()
		p := find(t, report, "prod", "web/example")
		if p.Verdict != Waiting || p.Wire == nil || p.Wire.State != WireBehind || f.looks == 0 {
			t.Fatalf("%+v", p)
		}
		if p.Wire.Remedy != "the target waits, see there" {
			t.Error(p.Wire.Remedy)
		}
		if all := report.WireDifferences(); len(all) > 0 {
			t.Errorf("%v", all)
		}
	})
}
