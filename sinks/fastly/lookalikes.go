package fastly

import (
	"context"
	"fmt"
	"slices"

	"github.com/anycert/anycert"
)

var _ anycert.LookalikeLister = (*Sink)(nil)

// Lookalikes lists the certificates of the account that this hub did not upload and that
// are for one of names.
func (s *Sink) Lookalikes(ctx context.Context, names []string, _ []anycert.Target) ([]anycert.Lookalike, error) {
	session, err := s.api.begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("looking for look-alikes: %w", err)
	}
	defer session.end()
	certificates, err := session.certificates()
	if err != nil {
		return nil, fmt.Errorf("looking for look-alikes: %w", err)
	}
	var found []anycert.Lookalike
	for _, c := range certificates {
		meant := slices.ContainsFunc(names, func(name string) bool { return anycert.Covers(c.names, name) })
		if !meant || c.ownedBy(s.owner) {
			continue
		}
		one := anycert.Lookalike{Label: fmt.Sprintf("certificate %s (%q)", c.id, clean(c.name)), Names: c.names, NotAfter: c.notAfter}
		if c.label != nil {
			one.Owner = "the hub " + c.label.mark.Owner
		}
		found = append(found, one)
	}
	return found, nil
}
