package issuer

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/failures"
)

// Settle implements [anycert.Requester]. A process that dies between any two of its
// steps leaves a request that is settled by the next one: what is revoked is asked for
// once more at worst, what is destroyed stays so, and the request is deleted last.
func (i *Issuer) Settle(ctx context.Context, certificate anycert.Certificate, served bool) (done bool, err error) {
	done, err = i.settle(ctx, certificate, served)
	if err != nil {
		return done, fmt.Errorf("ending what was asked for about certificate %s: %w", certificate.Name, err)
	}
	return done, nil
}

func (i *Issuer) settle(ctx context.Context, certificate anycert.Certificate, served bool) (bool, error) {
	name := certificate.Name
	record, version, err := i.loadAsked(ctx, name)
	if err != nil {
		return false, err
	}
	if record == nil {
		i.requests.forget(name)
		return true, nil
	}
	s := &settlement{Issuer: i, certificate: certificate, keptRequest: *record, version: version}
	if s.Done {
		return true, s.remove(ctx)
	}
	entry, err := i.stat(ctx, name)
	switch {
	case errors.Is(err, anycert.ErrNotFound), err == nil && entry.Version <= s.Version:
		return false, nil // not replaced yet
	case err != nil:
		return false, fmt.Errorf("looking at what the store has: %w", err)
	case !s.Revokes():
		return true, s.end(ctx)
	case !served && i.now().Before(s.Deadline):
		return false, nil
	case s.holds(entry.Leaf):
		return false, s.again(ctx, entry)
	case i.now().Before(s.Next):
		return false, &anycert.PostponedError{Until: s.Next, Err: errors.New(s.Error)}
	}
	return s.do(ctx)
}

// settlement is the end of one request.
type settlement struct {
	*Issuer
	certificate anycert.Certificate
	keptRequest
	version int // of the record
}

// Revokes is that of the request.
func (a keptRequest) Revokes() bool { return anycert.Request(a.wish).Revokes() }

// do revokes, then destroys, then deletes the request. A CA that does not answer holds
// back the end of the request and not the destruction: the request has all that a
// revocation needs.
func (s *settlement) do(ctx context.Context) (done bool, err error) {
	revoked, told := s.revokeAll(ctx)
	if s.Compromised {
		if err := s.destroy(ctx); err != nil {
			return false, failures.Join(err, revoked, told)
		}
	}
	if revoked != nil {
		return false, s.postpone(ctx, failures.Join(revoked, told))
	}
	if err := s.end(ctx); err != nil {
		return false, failures.Join(err, told)
	}
	return true, told
}

// revokeAll revokes what is not revoked yet, and notes it in the store. failed is what is
// tried again, told what only a person can do.
func (s *settlement) revokeAll(ctx context.Context) (failed, told error) {
	reason := "superseded"
	if s.Compromised {
		reason = "compromised"
	}
	var failedOnes, foreign []error
	var revoked []int
	s.Old = slices.Clone(s.Old)
	for n := range s.Old {
		one := &s.Old[n]
		if one.Revoked || len(one.Leaf) == 0 {
			continue
		}
		leaf, err := x509.ParseCertificate(one.Leaf)
		if err == nil {
			err = s.Revoke(ctx, s.certificate, leaf, one.Origin, reason)
		}
		switch {
		case err == nil:
			one.Revoked = true
			if !s.now().After(leaf.NotAfter) { // else nobody was asked
				revoked = append(revoked, one.Version)
			}
		case errors.As(err, new(*foreignError)):
			foreign = append(foreign, err)
		default:
			failedOnes = append(failedOnes, err)
		}
	}
	return failures.Join(failedOnes...), failures.Join(append(foreign, s.note(ctx, revoked, reason))...)
}

// note has the store tell people later what was revoked. That it could not be noted is
// told and holds back nothing: a CA that revoked does not do so twice.
func (s *settlement) note(ctx context.Context, versions []int, reason string) error {
	if s.history == nil || len(versions) == 0 {
		return nil
	}
	revocation := anycert.Revocation{Time: s.now().UTC().Truncate(time.Second), By: s.By, Reason: reason}
	if err := s.history.NoteRevoked(ctx, s.certificate.Name, versions, revocation); err != nil {
		return fmt.Errorf("versions %v were revoked, and history does not tell it: %w", versions, err)
	}
	return nil
}

// destroy makes the compromised key unreadable in the store: in every version of the
// certificate that holds it, and in the journal of an order.
func (s *settlement) destroy(ctx context.Context) error {
	if err := s.discardJournal(ctx); err != nil {
		return err
	}
	var versions []int
	for _, one := range s.Old {
		versions = append(versions, one.Version)
	}
	slices.Sort(versions)
	versions = slices.Compact(versions)
	if s.history == nil {
		return fmt.Errorf("versions %v hold the key that is known to others, and this store cannot destroy them: destroy them by hand", versions)
	}
	if err := s.history.Destroy(ctx, s.certificate.Name, versions); err != nil {
		return fmt.Errorf("destroying versions %v, which hold the key that is known to others: %w", versions, err)
	}
	return nil
}

// discardJournal destroys the journal of an order that was begun with the compromised
// key, or before it was replaced, since its earlier versions may hold that. One that
// another process is at is left to it until it has ended.
func (s *settlement) discardJournal(ctx context.Context) error {
	name := s.certificate.Name
	j, version, err := s.loadJournal(ctx, name)
	switch {
	case err != nil || j == nil:
		return err
	case j.Done: // its earlier versions hold the key of whatever it was
		return s.removeJournal(ctx)
	}
	key, err := anycert.SPKIOfKey([]byte(j.Key))
	if known := err == nil && slices.Contains(s.keys(), key); !known && j.Replaces > s.Version {
		return nil
	}
	if j.Claim.held(s.holder, s.now()) {
		return fmt.Errorf("an order that was begun before the key was replaced is under way, and is waited for: %w", anycert.ErrClaimed)
	}
	if _, err := s.saveJournal(ctx, name, version, &journal{Done: true}); err != nil {
		return err
	}
	return s.removeJournal(ctx)
}

func (s *settlement) removeJournal(ctx context.Context) error {
	if err := s.records.Delete(ctx, anycert.KindOrder, s.certificate.Name); err != nil {
		return fmt.Errorf("destroying the journal of an order that holds the key that is known to others: %w", err)
	}
	return nil
}

// keys are the compromised ones.
func (s *settlement) keys() (keys []anycert.SPKI) {
	for _, one := range s.Old {
		if leaf, err := x509.ParseCertificate(one.Leaf); err == nil {
			keys = append(keys, anycert.SPKIOf(leaf))
		}
	}
	return keys
}

// holds reports whether a certificate is to be revoked itself, or has a compromised key:
// somebody rolled back, or an order that was under way went on with it.
func (s *settlement) holds(leaf *x509.Certificate) bool {
	return s.Compromised && slices.Contains(s.keys(), anycert.SPKIOf(leaf)) ||
		slices.ContainsFunc(s.Old, func(one old) bool { return bytes.Equal(one.Leaf, leaf.Raw) })
}

// again asks for what came back to be replaced as well.
func (s *settlement) again(ctx context.Context, entry anycert.Entry) error {
	next := s.keptRequest
	next.Version, next.Old = entry.Version, slices.Clone(s.Old)
	next.add(entry.Version, entry.Leaf, entry.Origin)
	if _, err := s.saveAsked(ctx, s.certificate.Name, s.version, next); err != nil {
		return err
	}
	s.requests.set(s.certificate.Name, recalled{anycert.Request(next.wish), s.now()})
	what := "is a certificate that is to be revoked"
	if s.Compromised {
		what = "has the key that is known to others"
	}
	return fmt.Errorf("version %d %s, again: it is replaced as well", entry.Version, what)
}

// postpone keeps why a revocation failed, and what was revoked.
func (s *settlement) postpone(ctx context.Context, failure error) error {
	next := s.keptRequest
	next.Attempts++
	next.Error = failure.Error()
	next.Next = s.now().Add(max(revocationPause(next.Attempts), askedPause(failure))).UTC().Truncate(time.Second)
	if _, err := s.saveAsked(ctx, s.certificate.Name, s.version, next); err != nil {
		return failures.Join(failure, err)
	}
	return fmt.Errorf("%w (attempt %d, the next one is made after %s)", failure, next.Attempts, next.Next.Format(time.RFC3339))
}

// revocationPause is what is waited after so many failures: from a minute, doubled, to
// an hour. A revocation costs a CA little, and who asks for it waits for it.
func revocationPause(attempts int) time.Duration {
	return min(time.Minute<<min(attempts-1, 10), time.Hour)
}

// end deletes the request. It is marked by check-and-set first, so that one that was
// asked for anew meanwhile is not deleted.
func (s *settlement) end(ctx context.Context) error {
	done := keptRequest{Done: true, wish: wish{Time: s.Time, Begun: s.Begun, By: s.By, Version: s.Version}}
	if _, err := s.saveAsked(ctx, s.certificate.Name, s.version, done); err != nil {
		return err
	}
	return s.remove(ctx)
}

func (s *settlement) remove(ctx context.Context) error {
	name := s.certificate.Name
	if err := s.records.Delete(ctx, anycert.KindRequest, name); err != nil {
		return fmt.Errorf("deleting what was asked for, which is done: %w", err)
	}
	s.requests.forget(name)
	return nil
}
