package reconcile

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/certs"
)

// brakeWorld has n certificates at two sinks of two targets each, from an issuer, a month
// ago.
func brakeWorld(t *testing.T, n int) *world {
	t.Helper()
	var certificates []anycert.Certificate
	for i := range n {
		c := example
		c.Name = fmt.Sprintf("c%02d", i)
		certificates = append(certificates, c)
	}
	w := bareWorld(t, certificates, nil, "one", "two")
	w.store.Now = time.Now
	for _, c := range certificates {
		w.write(c.Name, anycert.Origin{Issuer: "test"}, certs.Options{})
	}
	w.hub.Brake = Brake{Percent: 30, Targets: 10}
	wantVerdicts(t, w.sync(), Kept)
	time.Sleep(20 * 24 * time.Hour)
	w.anew()
	wantVerdicts(t, w.sync(), Kept)
	return w
}

// write puts the next version of a certificate into the store, of whatever origin.
func (w *world) write(name string, origin anycert.Origin, options certs.Options) anycert.Entry {
	w.t.Helper()
	expected := 0
	if entry, err := w.store.Stat(w.t.Context(), name); err == nil {
		expected = entry.Version
	}
	entry, err := w.store.Put(w.t.Context(), name, expected, w.bundle(options), origin)
	if err != nil {
		w.t.Fatal(err)
	}
	return entry
}

func wantBraked(t *testing.T, report *Report, sudden int) {
	t.Helper()
	held := 0
	for _, p := range report.Promises {
		if p.Verdict != Held {
			continue
		}
		held++
		if p.Action != None || !strings.HasPrefix(p.Reason, fmt.Sprintf("brake: %d of 20 valid certificates would be replaced", sudden)) || !strings.Contains(p.Reason, "`anycert sync --yes`") {
			t.Errorf("%s %s: %s", p.Sink, p.Target, p.Reason)
		}
	}
	if held != sudden || report.SyncExit() != ExitFailed || report.AuditExit() != ExitDiffers {
		t.Errorf("%d held, want %d; exit %d and %d: %s", held, sudden, report.SyncExit(), report.AuditExit(), report.Summary())
	}
}

// Of twenty targets six may change at once, and no seventh, by whoever looks.
func TestBrake(t *testing.T) {
	for sudden, braked := range map[int]bool{1: false, 2: true} { // certificates with four targets each
		synctest.Test(t, func(t *testing.T) {
			w := brakeWorld(t, 5)
			for i := range sudden {
				w.write(fmt.Sprintf("c%02d", i), anycert.Origin{}, certs.Options{})
			}
			writes := w.writes()
			if !braked {
				wantVerdicts(t, w.sync(), Kept)
				return
			}
			for range 3 {
				wantBraked(t, w.audit(), 8)
				wantBraked(t, w.sync(), 8)
				w.anew()
			}
			if w.writes() != writes {
				t.Errorf("%d writes", w.writes()-writes)
			}
			// One more that its issuer made just now is another matter.
			entry := w.write("c04", anycert.Origin{Issuer: "test"}, certs.Options{})
			report := w.sync()
			wantBraked(t, report, 8)
			if !w.serves("one", "web/c04", entry) {
				t.Errorf("what its issuer just made is held as well: %s", report.Summary())
			}
			wantVerdicts(t, w.hub.Sync(t.Context(), SyncOptions{Unbraked: true}), Kept)
			w.anew()
			wantVerdicts(t, w.sync(), Kept)
		})
	}
}

// What is never braked.
func TestNotBraked(t *testing.T) {
	all := func(w *world, do func(name string)) {
		for _, c := range w.hub.Certificates {
			do(c.Name)
		}
	}
	for name, change := range map[string]func(w *world){
		"what its issuer just made": func(w *world) {
			all(w, func(name string) { w.write(name, anycert.Origin{Issuer: "test"}, certs.Options{}) })
		},
		"what is missing": func(w *world) {
			all(w, func(name string) {
				w.write(name, anycert.Origin{}, certs.Options{})
				for _, side := range w.sides {
					side.Delete("web/" + name)
					side.Delete("api/" + name)
				}
			})
		},
		"what somebody went back to": func(w *world) {
			all(w, func(name string) {
				w.write(name, anycert.Origin{Issuer: "test"}.RolledBack("ops@laptop", 1), certs.Options{})
			})
		},
		"what has expired": func(w *world) {
			time.Sleep(80 * 24 * time.Hour)
			all(w, func(name string) { w.write(name, anycert.Origin{}, certs.Options{}) })
		},
		"what has less than a third of its life left, by what an issuer made long ago": func(w *world) {
			all(w, func(name string) { w.write(name, anycert.Origin{Issuer: "test"}, certs.Options{}) })
			time.Sleep(50 * 24 * time.Hour)
		},
		"what was changed by hand": func(w *world) {
			all(w, func(name string) {
				pair, err := w.ca.Issue(certs.Options{Names: example.Domains})
				if err != nil {
					w.t.Fatal(err)
				}
				for _, side := range w.sides {
					for _, label := range []string{"web/" + name, "api/" + name} {
						object, _ := side.Get(label)
						object.ChainPEM, object.KeyPEM = pair.ChainPEM, pair.KeyPEM
						side.Put(label, object)
					}
				}
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := brakeWorld(t, 5)
				change(w)
				w.anew()
				wantVerdicts(t, w.sync(), Kept)
			})
		})
	}
}

// An issuer's version that is no news to it is braked: it may be another store's.
func TestBrakeOnAnotherStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := brakeWorld(t, 5)
		for _, c := range w.hub.Certificates {
			w.write(c.Name, anycert.Origin{Issuer: "test"}, certs.Options{})
		}
		time.Sleep(25 * time.Hour)
		wantBraked(t, w.sync(), 20)
		report := w.hub.Sync(t.Context(), SyncOptions{Only: Only{Sink: "one", Target: "web/c00"}}) // a person named it
		wantVerdicts(t, report, Kept)
	})
}

// Each sink's worker weighs what is at the others as well, and the first pass of a process
// waits until that is known.
func TestBrakeInALoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := brakeWorld(t, 5)
		for _, c := range w.hub.Certificates[:2] {
			w.write(c.Name, anycert.Origin{}, certs.Options{})
		}
		writes := w.writes()
		w.anew()
		loop := start(t, w)
		time.Sleep(30 * time.Minute)
		if w.writes() != writes {
			t.Errorf("%d writes:\n%s", w.writes()-writes, w.log)
		}
		if on := loop.Health().Alarms(time.Now()).On; len(on) == 0 || !strings.Contains(on[0].Text, "brake: 8 of 20 valid certificates") {
			t.Errorf("alarms: %+v", on)
		}
		if n := strings.Count(w.log.String(), "promise held"); n != 8 {
			t.Errorf("told %d times:\n%s", n, w.log)
		}
		w.hub.Sync(t.Context(), SyncOptions{Unbraked: true}) // beside the daemon
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if on := loop.Health().Alarms(time.Now()).On; len(on) != 0 {
			t.Errorf("alarms: %+v", on)
		}
	})
}
