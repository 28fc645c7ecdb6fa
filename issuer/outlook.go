package issuer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/failures"
)

// outlookSchema is the version of an outlook that this code writes, and the highest
// that it reads.
const outlookSchema = 1

const (
	// recallsAtOnce bounds the records that are read, and the CAs that are asked, at a
	// time.
	recallsAtOnce = 8
	// changes bounds how often a record is read again because another process wrote it.
	changes = 5
)

// outlook is what the store keeps about the renewal of one certificate, under
// check-and-set. It holds no key.
type outlook struct {
	Schema int `json:"schema"`
	// Advice is the CA's, about one certificate: another one has none yet.
	Advice *advice `json:"advice,omitempty"`
	// Failures are those since the last success, one for each issuer that failed.
	Failures map[string]failure `json:"failures,omitempty"`
}

// outlooks are the outlooks of all certificates as they were read last.
type outlooks struct {
	mu    sync.Mutex
	known map[string]recollection
}

// recollection is an outlook that was read. It is never changed in place.
type recollection struct {
	outlook
	record int // version of the record; 0: there is none
	entry  int // version of the certificate that it was read for; 0: there was none
}

func (o *outlooks) get(name string) (recollection, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	found, ok := o.known[name]
	return found, ok
}

func (o *outlooks) keep(name string, read recollection) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.known == nil {
		o.known = make(map[string]recollection)
	}
	o.known[name] = read
}

// Recall implements [anycert.Issuer]. A record is read once for each version of its
// certificate, and again only when the CA is due to be asked; so a pass in which
// nothing changed reads none.
func (i *Issuer) Recall(ctx context.Context, wanted []anycert.Wanted, ask bool) error {
	errs := []error{i.recallRequests(ctx), i.recallBudgets(ctx, wanted), i.recallOutlooks(ctx, wanted)}
	if ask {
		errs = append(errs, i.seekAdvice(ctx, wanted))
	}
	return failures.Join(errs...)
}

func (i *Issuer) recallOutlooks(ctx context.Context, wanted []anycert.Wanted) error {
	return atOnce(wanted, func(w anycert.Wanted) error {
		name := w.Certificate.Name
		known, ok := i.outlooks.get(name)
		if _, ours := i.cas[w.Certificate.Issuer]; !ours || ok && known.entry == versionOf(w.Entry) {
			return nil
		}
		_, err := i.recollect(ctx, name, versionOf(w.Entry))
		return err
	})
}

// atOnce calls f for each, for a few at a time, and joins what failed.
func atOnce(wanted []anycert.Wanted, f func(anycert.Wanted) error) error {
	errs := make([]error, len(wanted))
	var group errgroup.Group
	group.SetLimit(recallsAtOnce)
	for n, w := range wanted {
		group.Go(func() error {
			errs[n] = f(w)
			return nil
		})
	}
	_ = group.Wait()
	return failures.Join(errs...)
}

func versionOf(entry *anycert.Entry) int {
	if entry == nil {
		return 0
	}
	return entry.Version
}

// recollect reads the outlook of a certificate whose current version is entry.
func (i *Issuer) recollect(ctx context.Context, name string, entry int) (recollection, error) {
	read, err := i.loadOutlook(ctx, name)
	if err != nil {
		return recollection{}, err
	}
	read.entry = entry
	i.outlooks.keep(name, read)
	return read, nil
}

// loadOutlook reads a record; an empty outlook when there is none. One of a newer
// schema is an error: it is neither heeded nor overwritten. With ErrMalformed comes an
// empty outlook that may be written in its place: what it held can be asked again, and
// no certificate expires for it.
func (i *Issuer) loadOutlook(ctx context.Context, name string) (recollection, error) {
	var read outlook
	version, err := form{kind: anycert.KindRenewal, schema: outlookSchema, holds: "what is known about the renewal of certificate " + name,
		record: "the record", cure: ", and is written anew", newer: "upgrade this one, or let the newer one do its work"}.load(ctx, i.records, name, &read)
	if err != nil {
		return recollection{record: version}, err
	}
	return recollection{outlook: read, record: version}, nil
}

// saveOutlook writes an outlook as the version after expected.
func (i *Issuer) saveOutlook(ctx context.Context, name string, expected int, next outlook) (int, error) {
	next.Schema = outlookSchema
	text, err := json.Marshal(next)
	if err == nil {
		expected, err = i.records.Save(ctx, anycert.KindRenewal, name, expected, anycert.NewSecret(string(text)))
	}
	if err != nil {
		return 0, fmt.Errorf("keeping what is known about the renewal of certificate %s: %w", name, err)
	}
	return expected, nil
}

// amend changes the record of a certificate and what is known of it here. Where
// another process wrote it meanwhile, change is called again with what that one wrote.
// change must not touch what it is given but by replacing fields, and reports whether
// anything is to be written.
func (i *Issuer) amend(ctx context.Context, name string, entry int, change func(*outlook) bool) (recollection, error) {
	for try := 1; ; try++ {
		read, err := i.loadOutlook(ctx, name)
		if err != nil && !errors.Is(err, anycert.ErrMalformed) {
			return recollection{}, err
		}
		read.entry = entry
		if !change(&read.outlook) {
			i.outlooks.keep(name, read)
			return read, nil
		}
		read.record, err = i.saveOutlook(ctx, name, read.record, read.outlook)
		if err == nil {
			i.outlooks.keep(name, read)
			return read, nil
		}
		if !errors.Is(err, anycert.ErrConflict) || try == changes {
			return recollection{}, err
		}
	}
}
