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

	Claim *claim `json:"claim,omitempty"` // nil: nobody is at it

	Attempts int       `json:"attempts,omitempty"` // that failed
	Error    string    `json:"error,omitempty"`    // of the last one; shows no secret
	Next     time.Time `json:"next,omitzero"`      // not tried before
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

// postponed is the error of an order that is not to be tried yet, or nil.
func (j *journal) postponed(now time.Time) error {
	if !now.Before(j.Next) {
		return nil
	}
	return &anycert.PostponedError{Until: j.Next, Err: errors.New(j.Error)}
}

// loadJournal reads a journal and its version; nil and 0 when there is none. A
// journal of a newer schema is an error: it is neither used nor overwritten.
func (i *Issuer) loadJournal(ctx context.Context, name string) (*journal, int, error) {
	text, version, err := i.records.Load(ctx, anycert.KindOrder, name)
	if errors.Is(err, anycert.ErrNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("reading the journal of the order: %w", err)
	}
	j := &journal{}
	if err := json.Unmarshal([]byte(text.Reveal()), j); err != nil || j.Schema < 1 { // err may quote the key
		return nil, 0, fmt.Errorf("the journal %s/%s is not readable: delete it, and the order begins anew: %w", anycert.KindOrder, name, anycert.ErrMalformed)
	}
	if j.Schema > schema {
		return nil, 0, fmt.Errorf("the journal %s/%s was written by a newer anycert (schema %d, this one knows %d): upgrade this one, or let the newer one finish", anycert.KindOrder, name, j.Schema, schema)
	}
	return j, version, nil
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
