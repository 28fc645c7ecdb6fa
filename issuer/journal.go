package issuer

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/anycert/anycert"
)

// schema is the version of the journal that this code writes, and the highest
// that it reads.
const schema = 1

// journal is what the store keeps of an order from its intent until the
// certificate is stored. Each write is check-and-set: whoever writes next owns the
// order, and the one before finds out at its own next write.
type journal struct {
	Schema int `json:"schema"`
	// Done marks a journal whose order has ended. Its key is gone already; the
	// record is about to be deleted.
	Done bool `json:"done,omitempty"`

	want
	// Replaces is the version in the store that the order is to follow.
	Replaces int `json:"replaces"`

	Key string `json:"key,omitempty"` // PKCS#8, PEM
	CSR []byte `json:"csr,omitempty"` // DER
	// Order is the order's URL; empty before newOrder was answered.
	Order string `json:"order,omitempty"`

	// Taken says that the order was taken from the CA's limits, and Exempt that it does
	// not count there. Who drops these, as an older release does, gives nothing back.
	Taken  bool `json:"taken,omitempty"`
	Exempt bool `json:"exempt,omitempty"`
	// ReplacesID names the certificate that the CA is told to be replaced (RFC 9773).
	ReplacesID string `json:"replaces_id,omitempty"`
	// Request is when the person asked for whom the key was made; zero: nobody did.
	Request time.Time `json:"request,omitzero"`

	Claim *claim `json:"claim,omitempty"` // nil: nobody is at it

	// Releases before this one kept failures here; see outlook.
	Attempts int       `json:"attempts,omitempty"`
	Error    string    `json:"error,omitempty"`
	Next     time.Time `json:"next,omitzero"`
}

// want is what an order is for. Another want needs another order.
type want struct {
	Domains   []string        `json:"domains,omitempty"` // sorted
	Issuer    string          `json:"issuer,omitempty"`
	Directory string          `json:"directory,omitempty"`
	Profile   string          `json:"profile,omitempty"`
	KeyType   anycert.KeyType `json:"key_type,omitempty"`
	ReuseKey  bool            `json:"reuse_key,omitempty"`
}

func (w want) equal(other want) bool {
	return sameNames(w.Domains, other.Domains) && w.Issuer == other.Issuer && w.Directory == other.Directory &&
		w.Profile == other.Profile && w.KeyType == other.KeyType && w.ReuseKey == other.ReuseKey
}

func (w want) origin() anycert.Origin {
	return anycert.Origin{Issuer: w.Issuer, Directory: w.Directory, Profile: w.Profile}
}

// signer is the key of the order.
func (j *journal) signer() (crypto.Signer, error) {
	key, err := anycert.ParseKey([]byte(j.Key))
	if err != nil {
		return nil, fmt.Errorf("the journal's key: %w", err)
	}
	return key, nil
}

// owns reports whether leaf was issued for the journal's key.
func (j *journal) owns(entry anycert.Entry) bool {
	if j.Key == "" || entry.Leaf == nil {
		return false
	}
	ours, err := anycert.SPKIOfKey([]byte(j.Key))
	return err == nil && ours == anycert.SPKIOf(entry.Leaf)
}

// stored reports whether a process that died after its last step had stored what
// the order was for.
func (j *journal) stored(entry *anycert.Entry) bool {
	return entry != nil && entry.Version > j.Replaces && j.owns(*entry)
}

// loadJournal reads a journal and its version; nil and 0 when there is none. A
// journal of a newer schema is an error: it is neither used nor overwritten.
func (i *Issuer) loadJournal(ctx context.Context, name string) (*journal, int, error) {
	j := new(journal)
	version, err := journalForm("the journal of the order", "and the order begins anew").load(ctx, i.records, name, j)
	if err != nil || version == 0 {
		return nil, 0, err
	}
	return j, version, nil
}

func journalForm(holds, then string) form {
	return form{kind: anycert.KindOrder, schema: schema, holds: holds, record: "the journal",
		cure: ": delete it, " + then, newer: "upgrade this one, or let the newer one finish"}
}

// saveJournal writes a journal as the version after expected.
func (i *Issuer) saveJournal(ctx context.Context, name string, expected int, j *journal) (int, error) {
	j.Schema = schema
	text, err := json.Marshal(j)
	if err != nil {
		return 0, fmt.Errorf("writing the journal of the order: %w", err)
	}
	version, err := i.records.Save(ctx, anycert.KindOrder, name, expected, anycert.NewSecret(string(text)))
	if errors.Is(err, anycert.ErrConflict) {
		return 0, fmt.Errorf("the journal was written by another process: %w", anycert.ErrClaimed)
	}
	if err != nil {
		return 0, fmt.Errorf("writing the journal of the order: %w", err)
	}
	return version, nil
}

// update changes the journal and writes it, with our claim extended. It fails with
// ErrClaimed when another process has written it since; that ends the work wherever it
// is.
func (w *work) update(ctx context.Context, change func(*journal)) error {
	err := w.write(ctx, func(j *journal) {
		change(j)
		mine := identity()
		mine.Holder, mine.Until = w.holder, w.now().Add(claimTime).UTC()
		j.Claim = &mine
	})
	if errors.Is(err, anycert.ErrClaimed) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.lose != nil {
			w.lose(err)
		}
	}
	return err
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
// may have taken over, is not deleted. What an order without a certificate has taken
// from the limits is given back.
func (w *work) discard(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	if !w.journal.Done {
		ended := w.journal
		if err := w.write(ctx, func(j *journal) { *j = journal{Done: true} }); err != nil {
			return fmt.Errorf("ending the order: %w", err)
		}
		w.at(Ended)
		if !ended.stored(w.entry) {
			w.restore(ctx, ended)
		}
	}
	if err := w.records.Delete(ctx, anycert.KindOrder, w.certificate.Name); err != nil {
		return uncounted{fmt.Errorf("destroying the journal of the order, which has ended: %w", err)}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.journal, w.version = nil, 0
	return nil
}
