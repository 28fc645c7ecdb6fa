// Package upstream obtains certificates that somebody else renews: it looks where
// they lie, such as a Secret that cert-manager keeps, and puts each newer one into the
// store. It makes no orders and keeps no journal: to look twice is harmless, and of two
// hubs that find the same, the store's check-and-set lets one write.
package upstream

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/failures"
)

// Options are what an Issuer needs. Now may be left out.
type Options struct {
	Sources map[string]anycert.Source // by the name of the issuer
	Store   anycert.Store
	Now     func() time.Time // default: time.Now
}

// Issuer implements [anycert.Issuer] for certificates whose issuer is a source.
type Issuer struct {
	sources map[string]anycert.Source
	store   anycert.Store
	now     func() time.Time

	mu     sync.Mutex
	looked map[string]look   // by name of certificate: the last that went well
	down   map[string]outage // by name of issuer
}

// look is one that went well: what is there was written, or is not newer.
type look struct {
	at    time.Time
	wrote bool
}

var _ anycert.Issuer = (*Issuer)(nil)

// New makes an Issuer. It asks nobody.
func New(o Options) *Issuer {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Issuer{sources: o.Sources, store: o.Store, now: o.Now, looked: map[string]look{}, down: map[string]outage{}}
}

// pause is how long after a look another one is of no use: less than any schedule has
// between two passes.
const pause = 4 * time.Second

// Renewal implements [anycert.Issuer]. A certificate is looked for in each pass. One
// that is late is overdue since a third of its lifetime was left.
func (i *Issuer) Renewal(certificate anycert.Certificate, entry *anycert.Entry, now time.Time) anycert.Renewal {
	source, ok := i.sources[certificate.Issuer]
	if !ok {
		return anycert.Renewal{Reason: fmt.Sprintf("no issuer is named %s", certificate.Issuer)}
	}
	if certificate.Suspended {
		return anycert.Renewal{Reason: "it is suspended"}
	}
	place, err := source.Place(certificate.Name)
	if err != nil { // a mistake that Obtain tells
		return anycert.Renewal{At: now, Reason: err.Error()}
	}
	last := i.lastLook(certificate.Name)
	soon := now.Before(last.at.Add(pause))
	if entry != nil && entry.Leaf != nil && late(entry.Leaf, now) && !(soon && last.wrote) {
		lifetime := entry.Leaf.NotAfter.Sub(entry.Leaf.NotBefore)
		return anycert.Renewal{At: entry.Leaf.NotAfter.Add(-lifetime / 3), Reason: place.Label + " should have a newer one by now"}
	}
	at := now // not the end of the pause: it may have passed a day ago, and nothing is overdue
	if soon {
		at = last.at.Add(pause)
	}
	return anycert.Renewal{At: at, Reason: place.Label + " is looked at in each pass"}
}

// late reports whether whoever renews a certificate should have done so: a tenth of its
// lifetime is left. cert-manager renews when a third is left, and its own examples when
// a sixth is (https://cert-manager.io/docs/usage/certificate/).
func late(leaf *x509.Certificate, now time.Time) bool {
	lifetime := leaf.NotAfter.Sub(leaf.NotBefore)
	return now.After(leaf.NotAfter.Add(-lifetime / 10))
}

// Obtain implements [anycert.Issuer]: it looks at the source and writes what is newer
// there. ErrUnchanged when nothing is.
func (i *Issuer) Obtain(ctx context.Context, certificate anycert.Certificate) (anycert.Entry, error) {
	entry, err := i.obtain(ctx, certificate)
	if err == nil || errors.Is(err, anycert.ErrUnchanged) {
		i.note(certificate.Name, err == nil)
	}
	if err != nil {
		return anycert.Entry{}, fmt.Errorf("obtaining certificate %s from issuer %s: %w", certificate.Name, certificate.Issuer, err)
	}
	return entry, nil
}

// Recall implements [anycert.Issuer]: nothing is kept.
func (i *Issuer) Recall(context.Context, []anycert.Wanted, bool) error { return nil }

// Plan implements [anycert.Issuer]: there are no limits.
func (i *Issuer) Plan(wanted []anycert.Wanted, now time.Time) []anycert.Slot {
	slots := make([]anycert.Slot, len(wanted))
	for n, w := range wanted {
		slots[n] = anycert.Slot{Certificate: w.Certificate.Name, At: now}
	}
	return slots
}

// Unfinished implements [anycert.Issuer]: nothing is ever begun that is not ended.
func (i *Issuer) Unfinished(context.Context) ([]string, error) { return nil, nil }

// Probe reads what lies there for each of certificates, and changes nothing.
func (i *Issuer) Probe(ctx context.Context, name string, certificates []anycert.Certificate) error {
	source, ok := i.sources[name]
	if !ok {
		return fmt.Errorf("no issuer is named %s", name)
	}
	var failed []error
	for _, c := range certificates {
		if c.Issuer != name || c.Suspended {
			continue
		}
		bundle, err := source.Fetch(ctx, c.Name)
		if err == nil {
			err = anycert.Check(bundle.Leaf(), c.Domains, i.now())
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("issuer %s: certificate %s: %w", name, c.Name, err))
		}
	}
	return failures.Join(failed...)
}

func (i *Issuer) lastLook(name string) look {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.looked[name]
}

func (i *Issuer) note(name string, wrote bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.looked[name] = look{i.now(), wrote}
}
