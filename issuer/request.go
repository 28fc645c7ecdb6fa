package issuer

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"github.com/anycert/anycert"
)

var _ anycert.Requester = (*Issuer)(nil)

// Request implements [anycert.Requester].
func (i *Issuer) Request(ctx context.Context, certificate anycert.Certificate, request anycert.Request) (anycert.Request, error) {
	kept, err := i.request(ctx, certificate, request)
	if err != nil {
		return anycert.Request{}, fmt.Errorf("asking for another certificate %s: %w", certificate.Name, err)
	}
	i.requests.set(certificate.Name, recalled{kept, i.now()})
	return kept, nil
}

func (i *Issuer) request(ctx context.Context, certificate anycert.Certificate, request anycert.Request) (anycert.Request, error) {
	if request.Compromised && i.history == nil {
		return anycert.Request{}, errors.New("this store cannot destroy versions, so the key that is known to others would stay in it: use `anycert revoke`, and destroy it by hand")
	}
	const tries = 3
	for try := 1; ; try++ {
		record, version, err := i.loadAsked(ctx, certificate.Name)
		if err != nil {
			return anycert.Request{}, err
		}
		next := keptRequest{wish: wish(request)}
		if record != nil && record.Done {
			record = nil
		}
		if record != nil {
			if covers(record.wish, request) {
				return anycert.Request(record.wish), nil
			}
			next = record.with(request)
		}
		if record == nil || !record.gathered(request) {
			if err := i.gather(ctx, certificate.Name, request, &next); err != nil {
				return anycert.Request{}, err
			}
		}
		if _, err = i.saveAsked(ctx, certificate.Name, version, next); err == nil {
			return anycert.Request(next.wish), nil
		}
		if !errors.Is(err, anycert.ErrConflict) || try == tries {
			return anycert.Request{}, err
		}
	}
}

// covers reports whether who does what is kept does all that is asked for. What is asked
// for again is: a person who has mended something waits for no pause.
func covers(kept wish, request anycert.Request) bool {
	return kept.Version >= request.Version && !kept.Time.Before(request.Time) &&
		(kept.RotateKey || kept.Compromised || !request.RotateKey) &&
		(kept.Compromised || !request.Compromised) &&
		(kept.Superseded || kept.Compromised || !request.Superseded) &&
		(!request.Revokes() || !request.Deadline.Before(kept.Deadline))
}

// with is a kept request that covers another as well.
func (a keptRequest) with(request anycert.Request) keptRequest {
	next := keptRequest{wish: wish(request), Old: slices.Clone(a.Old)}
	next.Version = max(a.Version, request.Version)
	if next.Begun = a.Begun; next.Begun.IsZero() {
		next.Begun = a.Time
	}
	next.RotateKey = a.RotateKey || request.RotateKey
	next.Compromised = a.Compromised || request.Compromised
	next.Superseded = a.Superseded || request.Superseded
	if next.Deadline.IsZero() || !a.Deadline.IsZero() && a.Deadline.Before(next.Deadline) {
		next.Deadline = a.Deadline
	}
	return next
}

// gathered reports whether a kept request names all that is to be revoked by another.
func (a keptRequest) gathered(request anycert.Request) bool {
	return !request.Revokes() || a.Version >= request.Version && (a.Compromised || a.Superseded && !request.Compromised)
}

// gather adds to a request what is to be revoked: the certificate that is replaced,
// and for a compromised key those of all earlier versions that have it. Versions that
// were deleted, and can be undeleted, are taken for such: nobody can tell.
func (i *Issuer) gather(ctx context.Context, name string, request anycert.Request, to *keptRequest) error {
	if !request.Revokes() {
		return nil
	}
	entry, err := i.stat(ctx, name)
	switch {
	case errors.Is(err, anycert.ErrNotFound):
		return errors.New("the store has no certificate of that name, so there is none to be revoked")
	case err != nil:
		return fmt.Errorf("looking at what is to be replaced: %w", err)
	}
	leaf, origin := entry.Leaf, entry.Origin
	if entry.Version > request.Version { // it was replaced since somebody looked
		bundle, err := i.store.Get(ctx, name, request.Version)
		if err != nil {
			return fmt.Errorf("reading what is to be revoked: %w", err)
		}
		leaf = bundle.Leaf()
	}
	if !request.Compromised {
		to.add(request.Version, leaf, origin)
		return nil
	}
	past, err := i.history.History(ctx, name)
	if err != nil {
		return fmt.Errorf("listing the versions that may hold the same key: %w", err)
	}
	for _, p := range past {
		if p.Version > request.Version || p.Destroyed {
			continue
		}
		bundle, err := i.store.Get(ctx, name, p.Version)
		switch {
		case err == nil && anycert.SPKIOf(bundle.Leaf()) == anycert.SPKIOf(leaf):
			if p.Version == entry.Version {
				p.Origin = entry.Origin
			}
			to.add(p.Version, bundle.Leaf(), p.Origin)
		case err == nil, errors.Is(err, anycert.ErrNotFound):
		case errors.Is(err, anycert.ErrDeleted), errors.Is(err, anycert.ErrMalformed):
			to.add(p.Version, nil, p.Origin)
		default:
			return fmt.Errorf("looking for the same key in version %d: %w", p.Version, err)
		}
	}
	return nil
}

// add names a version once.
func (a *keptRequest) add(version int, leaf *x509.Certificate, origin anycert.Origin) {
	one := old{Version: version, Origin: origin}
	if leaf != nil {
		one.Leaf, one.Serial = leaf.Raw, fmt.Sprintf("%x", leaf.SerialNumber)
	}
	if !slices.ContainsFunc(a.Old, func(o old) bool { return o.Version == version && bytes.Equal(o.Leaf, one.Leaf) }) {
		a.Old = append(a.Old, one)
	}
}

// stat reads what the store has, indexed if need be.
func (i *Issuer) stat(ctx context.Context, name string) (anycert.Entry, error) {
	entry, err := i.store.Stat(ctx, name)
	if errors.Is(err, anycert.ErrUnindexed) {
		entry, err = i.store.Index(ctx, name)
	}
	return entry, err
}
