package reconcile

import (
	"bytes"
	"context"
	"testing"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/store/storetest"
)

// A follower may read and not write: it goes by what reading brought, which it asks
// for once a version.
func TestHandWrittenEntryForWhoMayReadAlone(t *testing.T) {
	w := bareWorld(t, []anycert.Certificate{example}, nil, "prod")
	store := &readOnly{Memory: w.store}
	w.hub = w.hub.With(Parts{Owner: "prod", Store: store, Certificates: w.hub.Certificates, Agents: w.hub.Agents})
	for range 2 {
		bundle := w.bundle(certs.Options{})
		w.store.WriteByHand("example", string(bundle.FullChainPEM()), bundle.KeyPEM().Reveal())
		before := store.refused
		for range 5 {
			wantVerdicts(t, w.sync(), Kept)
		}
		if object := mustGet(t, w, "web/example"); !bytes.Equal(object.ChainPEM, bundle.FullChainPEM()) {
			t.Error("something else was pushed")
		}
		if got := store.refused - before; got != 1 {
			t.Errorf("five passes tried %d times to write to the store", got)
		}
	}
}

// readOnly is the store as a token sees it that may read all and write nothing.
type readOnly struct {
	*storetest.Memory
	refused int
}

func (s *readOnly) Index(ctx context.Context, name string) (anycert.Entry, error) {
	entry, err := s.Stat(ctx, name)
	if err == nil {
		return entry, nil
	}
	bundle, err := s.Get(ctx, name, entry.Version)
	if err != nil {
		return entry, err
	}
	s.refused++
	entry.Digest, entry.Leaf = bundle.Digest(), bundle.Leaf()
	return entry, anycert.ErrForbidden
}

// What nobody has put into the store yet is waited for, by a follower as well: it is
// no failure.
func TestNothingThereYetIsNoFailure(t *testing.T) {
	bought := example
	bought.Issuer = ""
	w := bareWorld(t, []anycert.Certificate{bought}, nil, "prod")
	report := w.sync()
	wantVerdicts(t, report, Waiting)
	if report.SyncExit() != ExitOK || report.StatusExit() != ExitOK {
		t.Errorf("exit codes %d and %d: %v", report.SyncExit(), report.StatusExit(), report.Certificates)
	}
}
