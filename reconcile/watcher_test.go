package reconcile

import (
	"context"
	"crypto/x509"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/certs"
)

// world's wire: each endpoint has two addresses, the second of which may lag behind.
type fakeWire struct {
	mu    sync.Mutex
	fresh []*x509.Certificate
	late  []*x509.Certificate // nil: as fresh
	err   error               // of the second
	looks int
	hang  bool
}

func (f *fakeWire) set(change func(*fakeWire)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *fakeWire) Look(ctx context.Context, wanted []anycert.Handshake) [][]anycert.Served {
	f.mu.Lock()
	hang := f.hang
	f.mu.Unlock()
	if hang {
		<-ctx.Done()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.looks++
	served := make([][]anycert.Served, len(wanted))
	for i, handshake := range wanted {
		first := shows(handshake.Endpoint, "192.0.2.7", f.fresh...)
		second := shows(handshake.Endpoint, "2001:db8::1", f.fresh...)
		if f.late != nil {
			second.Chain = f.late
		}
		if f.err != nil {
			second = anycert.Served{Endpoint: handshake.Endpoint, IP: netip.MustParseAddr("2001:db8::1"), Err: f.err}
		}
		first.At, second.At = time.Now(), time.Now()
		served[i] = []anycert.Served{first, second}
	}
	return served
}

// seenWorld is a world with one sink whose two targets are behind app.
func seenWorld(t *testing.T) (*world, *fakeWire) {
	w := newWorld(t, "prod")
	f := &fakeWire{fresh: w.chain("example")}
	w.hub.Witness = f
	w.hub.Agents[0].Endpoints = func(anycert.Certificate, anycert.Target) []anycert.Endpoint { return []anycert.Endpoint{app} }
	return w, f
}

// chain is the one that the store holds.
func (w *world) chain(name string) []*x509.Certificate {
	w.t.Helper()
	entry, err := w.store.Stat(w.t.Context(), name)
	if err != nil {
		w.t.Fatal(err)
	}
	bundle, err := w.store.Get(w.t.Context(), name, entry.Version)
	if err != nil {
		w.t.Fatal(err)
	}
	return bundle.Chain()
}

func TestAuditLooksAtTheWire(t *testing.T) {
	w, f := seenWorld(t)
	w.sync()
	report := w.audit()
	if report.AuditExit() != ExitOK || f.looks != 1 {
		t.Fatalf("exit %d, %d looks", report.AuditExit(), f.looks)
	}
	old := w.chain("example")
	w.put("example", certs.Options{})
	w.sync()
	f.fresh, f.late = w.chain("example"), old
	report = w.audit()
	p := find(t, report, "prod", "web/example")
	if report.AuditExit() != ExitDiffers || p.Verdict != Kept || p.Wire.State != WireBehind || p.Store.Version != 2 || p.Holds.Digest != p.Store.Digest {
		t.Errorf("exit %d: %+v", report.AuditExit(), p)
	}
	var out strings.Builder
	report.WritePromises(&out, Plain)
	if n := strings.Count(out.String(), "\nwire: certificate example at prod api/example: app.example.com:443: another certificate is served"); n != 1 || strings.Count(out.String(), "\nwire: ") != 1 {
		t.Errorf("one endpoint is told %d times:\n%s", n, out.String())
	}
	if !strings.Contains(out.String(), "\non the wire: 2 behind\n") {
		t.Error(out.String())
	}
	f.late, f.err = nil, errors.New("no connection: connection refused")
	if report = w.audit(); report.AuditExit() != ExitFailed {
		t.Errorf("nothing was seen there, and the exit is %d", report.AuditExit())
	}
}

// What is served at a target that is not kept follows from that, and is said once.
func TestWireThatFollowsFromItsTarget(t *testing.T) {
	w, f := seenWorld(t)
	w.sync()
	f.late = w.chain("example")
	w.put("example", certs.Options{})
	f.fresh = f.late
	report := w.audit()
	var out strings.Builder
	report.WritePromises(&out, Plain)
	if p := find(t, report, "prod", "web/example"); p.Verdict != Broken || p.Wire.State != WireBehind || strings.Contains(out.String(), "\nwire: ") {
		t.Errorf("%+v\n%s", p.Wire, out.String())
	}
}

// The daemon sees that the world is served something else: a CDN has ten minutes, then
// there is an alarm until it was seen well twice.
func TestLoopWatchesTheWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := seenWorld(t)
		loop := start(t, w)
		ready := func() string { return strings.Join(loop.Health().Ready(time.Now()), "\n") }
		alarms := func() Alarms { return loop.Health().Alarms(time.Now()) }
		time.Sleep(time.Hour)
		if f.looks < 6 || f.looks > 20 {
			t.Errorf("%d looks in an hour in which all is well", f.looks)
		}
		old := w.chain("example")
		w.put("example", certs.Options{})
		f.set(func(f *fakeWire) { f.fresh, f.late = w.chain("example"), old })
		time.Sleep(9 * time.Minute)
		synctest.Wait()
		if got := alarms(); ready() != "" || len(got.On) != 0 || got.Over("wire/prod/example") {
			t.Errorf("within the grace it says %q, %+v", ready(), got)
		}
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if got := alarms().On; len(got) != 1 || got[0].Key != "wire/prod/example" || got[0].Severity != Warning || !strings.Contains(got[0].Text, "1 of 2 addresses (2001:db8::1)") {
			t.Errorf("%+v", got)
		}
		if !strings.Contains(ready(), "example at prod web/example: on the wire: app.example.com:443: another certificate is served") {
			t.Error(ready())
		}
		if got := loop.Health().Snapshot().Sinks[0].Promises[0]; got.Wires[WireBehind] != 2 || time.Since(got.WireSeen) > 2*time.Minute || !got.WireNotAfter.Equal(old[0].NotAfter) {
			t.Errorf("%+v", got)
		}
		f.set(func(f *fakeWire) { f.late = nil })
		time.Sleep(2*time.Minute + time.Second)
		synctest.Wait()
		if got := alarms(); ready() != "" || !got.Over("wire/prod/example") {
			t.Errorf("it is served again, and it says %q, %+v", ready(), got)
		}
		if n := strings.Count(w.log.String(), "the world is served something else"); n != 2 {
			t.Errorf("it is told %d times for two targets:\n%s", n, w.log.String())
		}
	})
}

// Law 8: what does not answer on the wire delays no pass and no end.
func TestLaw8AWireThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := seenWorld(t)
		f.hang = true
		ctx, cancel := context.WithCancel(t.Context())
		_, ended := begin(ctx, w)
		w.sides["prod"].Delete("web/example")
		time.Sleep(time.Minute)
		synctest.Wait()
		if _, ok := w.sides["prod"].Get("web/example"); !ok {
			t.Error("not mended within the minute")
		}
		asked := time.Now()
		cancel()
		<-ended
		if took := time.Since(asked); took > time.Second {
			t.Errorf("the end took %s", took)
		}
	})
}

// What clients refuse is critical, and needs no grace.
func TestUnfitOnTheWireIsCritical(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := seenWorld(t)
		other := w.bundle(certs.Options{Names: []string{"example.org"}, NotAfter: time.Now().Add(2000 * time.Hour)})
		f.late = other.Chain()
		loop := start(t, w)
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := loop.Health().Alarms(time.Now()).On; len(got) != 1 || got[0].Kind != WireAlarm || got[0].Severity != Critical {
			t.Errorf("%+v", got)
		}
	})
}
