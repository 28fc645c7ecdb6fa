package issuer

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/anycert/anycert"
)

// lastWords is what the last write of a journal may take after the context of its
// order has ended.
const lastWords = 4 * time.Second

// work is one order under way.
type work struct {
	*Issuer
	ca          *ca
	certificate anycert.Certificate
	want        want

	entry *anycert.Entry // what the store has; nil when nothing
	due   bool

	mu      sync.Mutex // of the journal: steps and heartbeat write it
	journal *journal   // never changed in place
	version int
}

// uncounted is a failure that is not the order's: of the store, or of what is
// read before the CA is asked. It spaces no attempts.
type uncounted struct{ error }

func (e uncounted) Unwrap() error { return e.error }

// open reads the journal and the store and tells whether there is nothing to do.
func (w *work) open(ctx context.Context) (anycert.Entry, bool, error) {
	var err error
	if w.journal, w.version, err = w.loadJournal(ctx, w.certificate.Name); err != nil {
		return anycert.Entry{}, false, err
	}
	if err := w.look(ctx); err != nil {
		return anycert.Entry{}, false, err
	}
	if w.journal != nil {
		if w.journal.Claim.held(w.holder, w.now()) {
			return anycert.Entry{}, false, anycert.ErrClaimed
		}
		if w.journal.Done || !w.due || w.journal.stored(w.entry) {
			if err := w.discard(ctx); err != nil {
				return anycert.Entry{}, false, err
			}
		}
	}
	switch {
	case !w.due && w.entry != nil:
		return *w.entry, true, nil
	case !w.due:
		return anycert.Entry{}, false, errors.New(w.Renewal(w.certificate, nil, w.now()).Reason)
	}
	if w.journal != nil && w.journal.want.equal(w.want) {
		return anycert.Entry{}, false, w.journal.postponed(w.now())
	}
	return anycert.Entry{}, false, nil
}

// stored reports whether a process that died after its last step had stored what
// the order was for.
func (j *journal) stored(entry *anycert.Entry) bool {
	return entry != nil && entry.Version > j.Replaces && j.owns(*entry)
}

// look reads what the store has.
func (w *work) look(ctx context.Context) error {
	entry, err := w.store.Stat(ctx, w.certificate.Name)
	if errors.Is(err, anycert.ErrUnindexed) {
		entry, err = w.store.Index(ctx, w.certificate.Name)
	}
	switch {
	case errors.Is(err, anycert.ErrNotFound):
		w.entry = nil
	case err != nil:
		return uncounted{fmt.Errorf("looking at what the store has: %w", err)}
	default:
		w.entry = &entry
	}
	now := w.now()
	w.due = w.Renewal(w.certificate, w.entry, now).Due(now)
	return nil
}

// prepare reads the credentials and looks for challenge records that are somebody
// else's. What is wrong here is told without having troubled the CA, and is tried
// again whenever one is asked.
func (w *work) prepare(ctx context.Context) (Prover, error) {
	solver, err := w.prover(ctx, w.ca.Config)
	if err != nil {
		return nil, err
	}
	if w.journal == nil || w.journal.Order == "" || !w.journal.want.equal(w.want) {
		return solver, solver.Look(ctx, w.want.Domains)
	}
	return solver, nil
}

// claim writes the intent, or our name into the journal of an order that was
// begun before.
func (w *work) claim(ctx context.Context) error {
	intent := journal{want: w.want}
	if w.journal != nil && w.journal.want.equal(w.want) {
		if w.journal.Key != "" {
			return w.update(ctx, func(*journal) {})
		}
		intent = *w.journal // the CA rejected its key
	}
	if w.entry != nil {
		intent.Replaces = w.entry.Version
	}
	key, err := w.newKey(ctx)
	if err != nil {
		return err
	}
	if err := intent.setKey(key, w.want.Domains); err != nil {
		return err
	}
	if err := w.update(ctx, func(j *journal) { *j = intent }); err != nil {
		return err
	}
	w.at(IntentWritten)
	return nil
}

// newKey is a new one, or that of the current version when it is to be kept.
func (w *work) newKey(ctx context.Context) (crypto.Signer, error) {
	if w.want.ReuseKey && w.entry != nil {
		bundle, err := w.store.Get(ctx, w.certificate.Name, w.entry.Version)
		if err != nil {
			return nil, fmt.Errorf("reading the key that is to be kept: %w", err)
		}
		if kind, err := anycert.KeyTypeOf(bundle.Signer().Public()); err == nil && kind == w.want.KeyType {
			return bundle.Signer(), nil
		}
	}
	return w.want.KeyType.Generate()
}

// setKey puts a key and the CSR for it into the journal. The CSR names no subject:
// the CA takes the names from the order.
func (j *journal) setKey(key crypto.Signer, domains []string) error {
	text, err := anycert.MarshalKey(key)
	if err != nil {
		return err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: domains}, key)
	if err != nil {
		return fmt.Errorf("making the certificate request: %w", err)
	}
	j.Key, j.CSR = text.Reveal(), csr
	return nil
}

// update changes the journal and writes it, with our claim extended. It fails with
// ErrClaimed when another process has written it since.
func (w *work) update(ctx context.Context, change func(*journal)) error {
	return w.write(ctx, func(j *journal) {
		change(j)
		mine := identity()
		mine.Holder, mine.Until = w.holder, w.now().Add(claimTime).UTC()
		j.Claim = &mine
	})
}

// release changes the journal and gives the claim back, also when the order's
// context has ended.
func (w *work) release(ctx context.Context, change func(*journal)) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	return w.write(ctx, func(j *journal) {
		change(j)
		j.Claim = nil
	})
}

// begun is the journal as it was written last. It must not be changed.
func (w *work) begun() *journal {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.journal
}

func (w *work) write(ctx context.Context, change func(*journal)) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	next := journal{}
	if w.journal != nil {
		next = *w.journal
	}
	change(&next)
	version, err := w.saveJournal(ctx, w.certificate.Name, w.version, &next)
	if err != nil {
		return uncounted{err}
	}
	w.journal, w.version = &next, version
	return nil
}

// discard ends the journal: what it holds is destroyed in all versions. The key is
// taken out by check-and-set first, so that the order of another process, which
// may have taken over, is not deleted.
func (w *work) discard(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	if !w.journal.Done {
		if err := w.write(ctx, func(j *journal) { *j = journal{Done: true} }); err != nil {
			return fmt.Errorf("ending the order: %w", err)
		}
		w.at(Ended)
	}
	if err := w.records.Delete(ctx, anycert.KindOrder, w.certificate.Name); err != nil {
		return uncounted{fmt.Errorf("destroying the journal of the order, which has ended: %w", err)}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.journal, w.version = nil, 0
	return nil
}

// keep extends the claim until stop is called. The context that it returns ends
// when the claim is lost.
func (w *work) keep(ctx context.Context) (kept context.Context, stop func()) {
	kept, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(beat)
		defer ticker.Stop()
		for {
			select {
			case <-kept.Done():
				return
			case <-ticker.C:
				if err := w.beat(kept); err != nil {
					cancel(err)
				}
			}
		}
	}()
	return kept, func() {
		cancel(context.Canceled)
		<-done
	}
}

// beat extends the claim once. A store that is away for a moment is waited for as
// long as the claim holds.
func (w *work) beat(ctx context.Context) error {
	err := w.update(ctx, func(*journal) {})
	if err == nil || errors.Is(err, anycert.ErrClaimed) {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.now().Before(w.journal.Claim.Until) {
		return nil
	}
	return fmt.Errorf("the claim on the order could not be extended: %w", err)
}
