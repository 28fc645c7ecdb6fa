package fastly

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/fastly/go-fastly/v9/fastly"

	"github.com/anycert/anycert"
)

// Kinds of orphans, as they begin their keys.
const (
	orphanCertificate = "certificate"
	orphanKey         = "key"
)

// Orphans lists our certificate objects that serve no declared target, and our keys
// that no certificate uses. What another sink on the same account serves, in TLS
// configurations that are not this one's, is not listed.
func (s *Sink) Orphans(ctx context.Context, declared []anycert.Target) ([]anycert.Orphan, error) {
	session, err := s.api.begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("looking for orphans: %w", err)
	}
	defer session.end()
	account, err := session.account()
	if err != nil {
		return nil, fmt.Errorf("looking for orphans: %w", err)
	}
	unused, err := session.keys("false")
	if err != nil {
		return nil, fmt.Errorf("looking for orphans: %w", err)
	}
	var found []anycert.Orphan
	for _, c := range account.certificates {
		if c.ownedBy(s.owner) && s.isOrphan(account, c, declared) {
			found = append(found, orphan(orphanCertificate, c.id, c.label))
		}
	}
	for _, key := range unused {
		if l, ok := parseLabel(key.Name); ok && l.mark.Owner == s.owner && !awaited(account, l, declared) {
			found = append(found, orphan(orphanKey, key.ID, l))
		}
	}
	return found, nil
}

func orphan(kind, id string, l *label) anycert.Orphan {
	return anycert.Orphan{
		Key:   kind + "/" + id,
		Label: fmt.Sprintf("%s %s (of certificate %s)", kind, id, l.mark.Certificate),
		Mark:  l.mark,
	}
}

// isOrphan tells whether no declared target needs the object c.
func (s *Sink) isOrphan(a *account, c *certificate, declared []anycert.Target) bool {
	held := a.activationsOf(c.id)
	here := false
	for _, activation := range held {
		if slices.ContainsFunc(declared, func(t anycert.Target) bool { return t.Label == activation.place.String() }) {
			return false
		}
		here = here || slices.Contains(s.configurations, activation.place.configuration)
	}
	if isDeclared(declared, c.label.mark.Certificate) && a.owned(s.owner, c.label.mark.Certificate)[0] == c {
		return false // its activations are missing, and a pass will make them
	}
	return len(held) == 0 || here
}

// awaited tells whether a key without a certificate is that of a push under way.
func awaited(a *account, l *label, declared []anycert.Target) bool {
	if !isDeclared(declared, l.mark.Certificate) {
		return false
	}
	owned := a.owned(l.mark.Owner, l.mark.Certificate)
	return len(owned) == 0 || !l.mark.Time.Before(owned[0].label.mark.Time)
}

func isDeclared(declared []anycert.Target, certificate string) bool {
	return slices.ContainsFunc(declared, func(t anycert.Target) bool { return t.Certificate == certificate })
}

// Remove deletes an orphan: a certificate with its key, or a key.
func (s *Sink) Remove(ctx context.Context, orphan anycert.Orphan) error {
	if err := s.remove(ctx, orphan); err != nil {
		return fmt.Errorf("removing %s: %w", orphan.Label, err)
	}
	return nil
}

func (s *Sink) remove(ctx context.Context, orphan anycert.Orphan) error {
	session, err := s.api.begin(ctx)
	if err != nil {
		return err
	}
	defer session.end()
	switch kind, id, _ := strings.Cut(orphan.Key, "/"); kind {
	case orphanCertificate:
		return s.removeCertificate(session, id, orphan.Mark)
	case orphanKey:
		return s.removeKey(session, id, orphan.Mark)
	}
	return fmt.Errorf("%w: %q is no object of this sink", anycert.ErrRefused, orphan.Key)
}

func (s *Sink) removeCertificate(session *session, id string, mark anycert.Mark) error {
	account, err := session.account()
	if err != nil {
		return err
	}
	c := account.certificate(id)
	if c == nil {
		return nil // gone already
	}
	if !c.ownedBy(s.owner) || c.label.mark != mark {
		return fmt.Errorf("%w: its mark has changed since it was listed", anycert.ErrRefused)
	}
	if held := account.activationsOf(id); len(held) > 0 {
		return fmt.Errorf("%w: it still serves %s: disable TLS for that domain at Fastly first", anycert.ErrRefused, held[0].place)
	}
	if err := session.deleteCertificate(id); err != nil {
		return err
	}
	return s.removeKeyOf(session, c.label)
}

// removeKeyOf deletes the key of a certificate that is gone, if we uploaded it and no
// other certificate uses it.
func (s *Sink) removeKeyOf(session *session, gone *label) error {
	unused, err := session.keys("false")
	if err != nil {
		return err
	}
	for _, key := range unused {
		l, ok := parseLabel(key.Name)
		if ok && keyID(key.PublicKeySHA1) == gone.key && l.mark.Owner == s.owner && l.mark.Certificate == gone.mark.Certificate {
			return session.deleteKey(key.ID)
		}
	}
	return nil
}

func (s *Sink) removeKey(session *session, id string, mark anycert.Mark) error {
	all, err := session.keys("")
	if err != nil {
		return err
	}
	unused, err := session.keys("false")
	if err != nil {
		return err
	}
	meant := func(key *fastly.PrivateKey) bool { return key.ID == id }
	i := slices.IndexFunc(all, meant)
	if i < 0 {
		return nil // gone already
	}
	if l, ok := parseLabel(all[i].Name); !ok || l.mark != mark || mark.Owner != s.owner {
		return fmt.Errorf("%w: its mark has changed since it was listed", anycert.ErrRefused)
	}
	if !slices.ContainsFunc(unused, meant) {
		return fmt.Errorf("%w: a certificate uses it", anycert.ErrRefused)
	}
	return session.deleteKey(id)
}
