package reconcile

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/sinks/sinktest"
	"github.com/anycert/anycert/store/storetest"
)

// Law 1: whatever a target serves that is not the store's current version is
// replaced in one pass, also what is newer, longer-lived or valid until 2099.
func TestLaw1TheTruthWins(t *testing.T) {
	w := newWorld(t, "prod")
	wantVerdicts(t, w.sync(), Kept)
	mark := mustGet(t, w, "web/example").Mark
	old := mustGet(t, w, "web/example")
	entry := w.put("example", certs.Options{})
	wantVerdicts(t, w.sync(), Kept)
	right := mustGet(t, w, "web/example")

	forever := w.bundle(certs.Options{SelfSigned: true, NotAfter: time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)})
	newer := w.bundle(certs.Options{NotBefore: time.Now().Add(-time.Minute)})
	for name, object := range map[string]sinktest.Object{
		"self-signed until 2099, our mark left on": {ChainPEM: forever.FullChainPEM(), KeyPEM: []byte(forever.KeyPEM().Reveal()), Mark: right.Mark},
		"newer, our mark left on":                  {ChainPEM: newer.FullChainPEM(), KeyPEM: []byte(newer.KeyPEM().Reveal()), Mark: right.Mark},
		"an older one of ours":                     old,
		"an older one of ours, newer mark":         {ChainPEM: old.ChainPEM, KeyPEM: old.KeyPEM, Mark: right.Mark},
		"wrong key beside the right certificate":   {ChainPEM: right.ChainPEM, KeyPEM: []byte(newer.KeyPEM().Reveal()), Mark: right.Mark},
		"no key":                                   {ChainPEM: right.ChainPEM, Mark: right.Mark},
		"emptied":                                  {Mark: right.Mark},
		"garbage":                                  {ChainPEM: []byte("garbage"), KeyPEM: []byte("garbage"), Mark: right.Mark},
		"the right pair, the mark of an old one":   {ChainPEM: right.ChainPEM, KeyPEM: right.KeyPEM, Mark: mark},
	} {
		t.Run(name, func(t *testing.T) {
			w.sides["prod"].Put("web/example", object)
			planned := actions(w.audit())
			if len(planned) != 1 || !strings.HasPrefix(planned[0], "prod web/example ") {
				t.Fatalf("the audit plans %v, want exactly web/example", planned)
			}
			before := w.writes()
			report := w.sync()
			wantVerdicts(t, report, Kept)
			if diff := cmp.Diff(planned, actions(report)); diff != "" {
				t.Errorf("audit and sync do not say the same (-audit +sync):\n%s", diff)
			}
			if !w.serves("prod", "web/example", entry) || w.writes() != before+1 {
				t.Errorf("not mended by exactly one write")
			}
		})
	}
}

// Law 2: only the store's going back is doubted.
func TestLaw2OnlyTheStoresGoingBackIsDoubted(t *testing.T) {
	w := newWorld(t, "prod")
	snapshot := w.store.Snapshot()
	second := w.put("example", certs.Options{NotAfter: time.Now().Add(80 * 24 * time.Hour)})
	wantVerdicts(t, w.sync(), Kept)

	w.store.Restore(snapshot)
	before := w.writes()
	for range 3 {
		report := w.sync()
		wantVerdicts(t, report, Held)
		if reason := report.Promises[0].Reason; !strings.Contains(reason, "anycert sync --accept-store example") {
			t.Errorf("the reason does not say what to do: %s", reason)
		}
		if report.SyncExit() != ExitFailed || w.audit().AuditExit() != ExitDiffers {
			t.Error("a held promise raises no alarm")
		}
	}
	if w.writes() != before || !w.serves("prod", "web/example", second) {
		t.Fatal("a target was downgraded")
	}

	// a person says that the store is right
	report := w.hub.Sync(t.Context(), SyncOptions{AcceptStore: []string{"example"}})
	wantVerdicts(t, report, Kept)
	wantVerdicts(t, w.sync(), Kept)

	// a rollback is a new version with an older certificate: followed at once
	third := w.put("example", certs.Options{NotAfter: time.Now().Add(70 * 24 * time.Hour)})
	wantVerdicts(t, w.sync(), Kept)
	w.store.Rollback("example", 1)
	wantVerdicts(t, w.sync(), Kept)
	if w.serves("prod", "web/example", third) {
		t.Error("the rollback was not followed")
	}

	// a shorter lifetime is no downgrade
	short := w.put("example", certs.Options{NotAfter: time.Now().Add(6 * 24 * time.Hour)})
	wantVerdicts(t, w.sync(), Kept)
	if !w.serves("prod", "web/example", short) {
		t.Error("a shorter-lived certificate was not followed")
	}

	// a store that was wiped has gone back, too
	w.store.Restore(storetest.State{})
	wantVerdicts(t, w.sync(), Held)
}

// Law 2 at a sink that has no place for a mark: the process remembers.
func TestLaw2HoldsWithoutAMark(t *testing.T) {
	w := newWorld(t, "prod")
	agent := w.hub.Agents[0]
	agent.Sink = markless{agent.Sink}
	w.hub.Agents = []Agent{agent}
	snapshot := w.store.Snapshot()
	w.put("example", certs.Options{})
	wantVerdicts(t, w.sync(), Kept)
	w.store.Restore(snapshot)
	wantVerdicts(t, w.sync(), Held)
	wantVerdicts(t, w.hub.Sync(t.Context(), SyncOptions{AcceptStore: []string{"example"}}), Kept)
}

// Law 2 in a new process: a provider without marks that answers before the others is
// not downgraded, and one that is alone waits for nobody.
func TestLaw2ANewProcessLooksAtTheMarksFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func(ctx context.Context, op string, target anycert.Target) error {
			if target.Key == "slow" && op == "observe" {
				time.Sleep(10 * time.Second)
			}
			return nil
		}
		w := bareWorld(t, []anycert.Certificate{example}, slow, "slow", "quick")
		w.put("example", certs.Options{})
		agents := slices.Clone(w.hub.Agents)
		agents[1].Sink = markless{agents[1].Sink}
		w.hub.Agents = agents
		snapshot := w.store.Snapshot()
		second := w.put("example", certs.Options{})
		wantVerdicts(t, w.sync(), Kept)

		w.store.Restore(snapshot)
		fresh := New(w.hub.Parts, slog.New(slog.DiscardHandler))
		wantVerdicts(t, fresh.Audit(t.Context(), Only{}), Held)
		fresh = New(w.hub.Parts, slog.New(slog.DiscardHandler))
		wantVerdicts(t, fresh.Sync(t.Context(), SyncOptions{}), Held)
		if !w.serves("quick", "web/example", second) {
			t.Error("what has no mark was downgraded")
		}

		w.sides["quick"].Delete("web/example")
		alone := w.hub.Parts
		alone.Agents = agents[1:]
		start := time.Now()
		New(alone, slog.New(slog.DiscardHandler)).Sync(t.Context(), SyncOptions{})
		if took := time.Since(start); took > time.Second {
			t.Errorf("alone, it waited %v", took)
		}
	})
}

// markless is a sink at a provider that has no place for a mark.
type markless struct{ anycert.Sink }

func (m markless) Observe(ctx context.Context, target anycert.Target) (anycert.Observed, error) {
	observed, err := m.Sink.Observe(ctx, target)
	observed.Mark, observed.Unmarkable = nil, true
	return observed, err
}

// Law 3: nothing bad is pushed, and what is served stays.
func TestLaw3NothingBadIsPushed(t *testing.T) {
	for name, test := range map[string]struct {
		spoil   func(*world)
		verdict Verdict
		reason  string
	}{
		"expired":       {func(w *world) { w.put("example", certs.Options{NotAfter: time.Now().Add(-time.Minute)}) }, Broken, "expired"},
		"not yet valid": {func(w *world) { w.put("example", certs.Options{NotBefore: time.Now().Add(time.Hour)}) }, Broken, "not valid before"},
		"another name":  {func(w *world) { w.put("example", certs.Options{Names: []string{"example.org"}}) }, Broken, "does not cover"},
		"the wildcard is missing": {func(w *world) {
			w.put("example", certs.Options{Names: []string{"example.com", "www.example.com"}})
		}, Broken, "does not cover *.example.com"},
		"CA:TRUE": {func(w *world) { w.put("example", certs.Options{IsCA: true}) }, Broken, "CA:TRUE"},
		"a key that does not match": {func(w *world) {
			a, b := w.bundle(certs.Options{}), w.bundle(certs.Options{})
			w.store.WriteByHand("example", string(a.FullChainPEM()), b.KeyPEM().Reveal())
		}, Unknown, "does not belong to the certificate"},
		"garbage": {func(w *world) { w.store.WriteByHand("example", "garbage", "garbage") }, Unknown, "no certificate found"},
		"weak": {func(w *world) {
			pair, err := w.ca.Issue(certs.Options{Names: example.Domains, KeyType: certs.RSA1024})
			if err != nil {
				w.t.Fatal(err)
			}
			w.store.WriteByHand("example", string(pair.ChainPEM), string(pair.KeyPEM))
		}, Unknown, "RSA key of 1024 bits"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "prod")
			good, err := w.store.Stat(t.Context(), "example")
			if err != nil {
				t.Fatal(err)
			}
			w.sync()
			before := w.writes()
			test.spoil(w)
			for range 2 {
				report := w.sync()
				wantVerdicts(t, report, test.verdict)
				if reason := report.Promises[0].Reason; !strings.Contains(reason, test.reason) {
					t.Errorf("reason %q, want one that says %q", reason, test.reason)
				}
				if report.SyncExit() != ExitFailed {
					t.Error("no alarm")
				}
			}
			if w.writes() != before || !w.serves("prod", "web/example", good) {
				t.Error("what was served did not stay")
			}
		})
	}
}

// Law 3, when the metadata lies: the data decides.
func TestLaw3ForgedMetadata(t *testing.T) {
	w := newWorld(t, "prod")
	true1, err := w.store.Stat(t.Context(), "example")
	if err != nil {
		t.Fatal(err)
	}
	other := w.bundle(certs.Options{})
	forged := true1
	forged.Digest, forged.Leaf = other.Digest(), other.Leaf()
	w.store.ForgeIndex("example", forged)
	report := w.sync()
	wantVerdicts(t, report, Broken)
	if !strings.Contains(report.Promises[0].Reason, "the next pass goes by the data") || w.writes() != 0 {
		t.Errorf("pushed by forged metadata: %s", report.Promises[0].Reason)
	}
	wantVerdicts(t, w.sync(), Kept)
	if !w.serves("prod", "web/example", true1) {
		t.Error("the next pass did not go by the data")
	}
}

// Law 4: nothing is deleted by accident, whatever the store says or does not say.
func TestLaw4NothingIsDeletedByAccident(t *testing.T) {
	fail := func(err error) func(*world) {
		return func(w *world) {
			w.store.Fail = func(storetest.Op, string) error { return err }
		}
	}
	for name, test := range map[string]struct {
		disturb func(*world)
		verdict Verdict
	}{
		"sealed":                {fail(anycert.ErrUnavailable), Unknown},
		"forbidden":             {fail(anycert.ErrForbidden), Unknown},
		"malformed":             {fail(anycert.ErrMalformed), Unknown},
		"an unforeseen error":   {fail(errBroken), Unknown},
		"soft-deleted":          {func(w *world) { w.store.SoftDelete("example") }, Unknown},
		"wiped":                 {func(w *world) { w.store.Restore(storetest.State{}) }, Held},
		"listing empty":         {func(w *world) { w.store.Fail = failing(storetest.OpNames, errBroken) }, Kept},
		"key forbidden":         {func(w *world) { w.store.Fail = failing(storetest.OpGet, anycert.ErrForbidden) }, Kept},
		"taken out of a sink":   {func(w *world) { w.hub.Agents[0].Certificates = nil }, ""},
		"taken out altogether":  {func(w *world) { w.hub.Certificates, w.hub.Agents[0].Certificates = nil, nil }, ""},
		"the sink taken out":    {func(w *world) { w.hub.Agents = nil }, ""},
		"certificate suspended": {func(w *world) { w.hub.Agents[0].Certificates[0].Suspended = true }, ""},
		"sink suspended":        {func(w *world) { w.hub.Agents[0].Suspended = true }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "prod")
			w.hub.Agents[0].Certificates = slices.Clone(w.hub.Agents[0].Certificates)
			entry, err := w.store.Stat(t.Context(), "example")
			if err != nil {
				t.Fatal(err)
			}
			w.sync()
			before := w.writes()
			issuer := &issuer{world: w}
			w.hub.Issuer = issuer
			test.disturb(w)
			if name == "wiped" {
				w.hub.Issuer = nil // with an issuer, an empty store is filled anew
			}
			for range 3 {
				report := w.sync()
				if test.verdict != "" {
					wantVerdicts(t, report, test.verdict)
				} else if len(report.Promises) != 0 {
					t.Errorf("promises: %v", report.Promises)
				}
			}
			if w.writes() != before || !w.serves("prod", "web/example", entry) || !w.serves("prod", "api/example", entry) {
				t.Error("a target was touched")
			}
			if issuer.count() != 0 {
				t.Error("an order was made")
			}
		})
	}
}

func failing(op storetest.Op, err error) func(storetest.Op, string) error {
	return func(o storetest.Op, _ string) error {
		if o == op {
			return err
		}
		return nil
	}
}

// Law 6: others' objects are not touched.
func TestLaw6OthersObjectsAreNotTouched(t *testing.T) {
	w := newWorld(t, "prod")
	foreign := w.bundle(certs.Options{})
	for label, mark := range map[string]*anycert.Mark{"web/example": nil, "api/example": {Owner: "staging", Certificate: "example", Digest: foreign.Digest()}} {
		w.sides["prod"].Put(label, sinktest.Object{ChainPEM: foreign.FullChainPEM(), KeyPEM: []byte(foreign.KeyPEM().Reveal()), Mark: mark})
	}
	wantVerdicts(t, w.audit(), Refused)
	report := w.sync()
	wantVerdicts(t, report, Refused)
	if len(actions(report)) != 0 || len(w.sides["prod"].Pushes()) != 0 || report.SyncExit() != ExitFailed {
		t.Errorf("planned %v, pushed %v, exit %d", actions(report), w.sides["prod"].Pushes(), report.SyncExit())
	}
}

// Law 7: a second pass writes nothing, reads no key, and asks for each entry once.
func TestLaw7ASecondPassWritesNothing(t *testing.T) {
	w := newWorld(t, "prod", "staging")
	first := w.sync()
	wantVerdicts(t, first, Kept)
	if got := w.writes(); got != 4 {
		t.Fatalf("the first pass made %d writes, want 4", got)
	}
	before, counts := w.writes(), w.store.Counts()
	for range 5 {
		report := w.sync()
		wantVerdicts(t, report, Kept)
		if len(actions(report)) != 0 {
			t.Errorf("planned %v", actions(report))
		}
	}
	after := w.store.Counts()
	if w.writes() != before || after.Writes != counts.Writes || after.Records != counts.Records {
		t.Error("an unchanged pass wrote")
	}
	if after.KeysRead != counts.KeysRead {
		t.Error("an unchanged pass read a key from the store")
	}
	if got := after.Stats - counts.Stats; got != 5 {
		t.Errorf("five passes read the metadata of one certificate %d times", got)
	}
}

// Law 8: failures stay where they are.
func TestLaw8FailuresStayWhereTheyAre(t *testing.T) {
	other := anycert.Certificate{Name: "other", Domains: []string{"example.com"}}
	for name, fault := range map[string]sinktest.Fault{
		"a sink that fails": func(_ context.Context, _ string, target anycert.Target) error {
			if target.Key == "bad" {
				return errBroken
			}
			return nil
		},
		"a sink that panics": func(_ context.Context, _ string, target anycert.Target) error {
			if target.Key == "bad" {
				panic("no such luck")
			}
			return nil
		},
		"a target that cannot be pushed": func(_ context.Context, op string, target anycert.Target) error {
			if target.Key == "bad" && op == "push" && target.Label == "web/example" {
				return errBroken
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := bareWorld(t, []anycert.Certificate{example, other}, fault, "bad", "good")
			w.put("example", certs.Options{})
			w.put("other", certs.Options{})
			report := w.sync()
			if report.SyncExit() != ExitFailed {
				t.Error("no alarm")
			}
			for _, p := range report.Promises {
				switch {
				case p.Sink == "good" && p.Verdict != Kept:
					t.Errorf("%s of the good sink is %s: %s", p.Target, p.Verdict, p.Reason)
				case p.Sink == "bad" && name == "a target that cannot be pushed" && (p.Verdict == Kept) == (p.Target == "web/example"):
					t.Errorf("%s of the bad sink is %s: %s", p.Target, p.Verdict, p.Reason)
				case p.Sink == "bad" && p.Verdict != Kept && p.Reason == "":
					t.Errorf("%s: no reason", p.Target)
				}
			}
			if strings.Contains(w.log.String(), "no such luck") {
				t.Error("the value of a panic is in the log")
			}
		})
	}
}

// Law 8 in the store: one certificate that cannot be read delays no other.
func TestLaw8OneUnreadableCertificate(t *testing.T) {
	other := anycert.Certificate{Name: "other", Domains: []string{"example.com"}}
	w := bareWorld(t, []anycert.Certificate{example, other}, nil, "prod")
	w.put("example", certs.Options{})
	w.put("other", certs.Options{})
	w.store.Fail = func(_ storetest.Op, name string) error {
		if name == "example" {
			return anycert.ErrForbidden
		}
		return nil
	}
	for _, p := range w.sync().Promises {
		if want := map[string]Verdict{"example": Unknown, "other": Kept}[p.Certificate]; p.Verdict != want {
			t.Errorf("%s is %s: %s", p.Target, p.Verdict, p.Reason)
		}
	}
}

// Only declared certificates are pushed; what else is in the store is named.
func TestUndeclaredIsPushedNowhere(t *testing.T) {
	w := newWorld(t, "prod")
	w.put("bank", certs.Options{Names: []string{"bank.example"}})
	w.sync()
	if _, ok := w.sides["prod"].Get("web/bank"); ok {
		t.Error("an undeclared certificate was pushed")
	}
	if got := w.audit().Undeclared; !slices.Equal(got, []string{"bank"}) {
		t.Errorf("undeclared: %v", got)
	}
}

// An entry that a person wrote with vault kv put is looked at once.
func TestHandWrittenEntry(t *testing.T) {
	w := bareWorld(t, []anycert.Certificate{example}, nil, "prod")
	bundle := w.bundle(certs.Options{})
	w.store.WriteByHand("example", string(bundle.FullChainPEM()), bundle.KeyPEM().Reveal())
	report := w.audit()
	wantVerdicts(t, report, Unknown)
	if !strings.Contains(report.Promises[0].Reason, "run `anycert sync` once") || report.AuditExit() != ExitFailed {
		t.Errorf("reason %q", report.Promises[0].Reason)
	}
	if got := w.store.Counts(); got.KeysRead != 0 || got.Writes != 0 {
		t.Errorf("an audit read a key or wrote: %+v", got)
	}
	wantVerdicts(t, w.sync(), Kept)
	wantVerdicts(t, w.audit(), Kept)

	// what does not parse is read once, not once a minute
	w.store.WriteByHand("example", "garbage", "garbage")
	w.sync()
	before := w.store.Counts().KeysRead
	for range 5 {
		wantVerdicts(t, w.sync(), Unknown)
	}
	if got := w.store.Counts().KeysRead - before; got != 0 {
		t.Errorf("a malformed entry was read %d times more", got)
	}
}

// A writer who keeps changing a target back is named.
func TestContested(t *testing.T) {
	w := newWorld(t, "prod")
	agent := w.hub.Agents[0]
	agent.Sink = rivalled{agent.Sink}
	w.hub.Agents = []Agent{agent}
	w.sync()
	for i := range 3 {
		other := w.bundle(certs.Options{})
		object := mustGet(t, w, "web/example")
		w.sides["prod"].Put("web/example", sinktest.Object{ChainPEM: other.FullChainPEM(), KeyPEM: []byte(other.KeyPEM().Reveal()), Mark: object.Mark})
		because := find(t, w.sync(), "prod", "web/example").Because
		if contested := strings.Contains(because, "contested by cert-manager"); contested != (i > 0) {
			t.Errorf("round %d: because %q", i, because)
		}
	}
}

// rivalled is a sink whose objects tell who else writes them.
type rivalled struct{ anycert.Sink }

func (r rivalled) Observe(ctx context.Context, target anycert.Target) (anycert.Observed, error) {
	observed, err := r.Sink.Observe(ctx, target)
	observed.Writer = "cert-manager"
	return observed, err
}

// Sync narrowed to a sink or target touches nothing else.
func TestOnly(t *testing.T) {
	for name, test := range map[string]struct {
		only Only
		want []string
	}{
		"a sink":   {Only{Sink: "prod"}, []string{"prod api/example create", "prod web/example create"}},
		"a target": {Only{Sink: "prod", Target: "web/example"}, []string{"prod web/example create"}},
		"all":      {Only{}, []string{"prod api/example create", "prod web/example create", "staging api/example create", "staging web/example create"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "prod", "staging")
			report := w.hub.Sync(t.Context(), SyncOptions{Only: test.only})
			if diff := cmp.Diff(test.want, actions(report)); diff != "" || w.writes() != len(test.want) {
				t.Errorf("%d writes; (-want +got):\n%s", w.writes(), diff)
			}
		})
	}
}

// Orphans are listed, and deleted by nothing but Remove.
func TestOrphans(t *testing.T) {
	w := newWorld(t, "prod")
	w.sync()
	w.hub.Agents[0].Certificates = nil
	w.sync()
	report := w.audit()
	if len(report.Orphans) != 2 || w.writes() != 2 {
		t.Fatalf("%d orphans, %d writes", len(report.Orphans), w.writes())
	}
	for _, orphan := range w.hub.Orphans(t.Context()).Orphans {
		if err := w.hub.Remove(t.Context(), orphan); err != nil {
			t.Error(err)
		}
	}
	if _, ok := w.sides["prod"].Get("web/example"); ok {
		t.Error("the orphan is still there")
	}
}

func mustGet(t *testing.T, w *world, label string) sinktest.Object {
	t.Helper()
	object, ok := w.sides["prod"].Get(label)
	if !ok {
		t.Fatal(fmt.Errorf("nothing at %s", label))
	}
	return object
}
