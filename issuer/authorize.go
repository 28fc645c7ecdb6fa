package issuer

import (
	"context"
	"fmt"
	"slices"

	"github.com/go-acme/lego/v4/acme"
	"golang.org/x/sync/errgroup"

	"github.com/anycert/anycert/internal/failures"
	"github.com/anycert/anycert/issuer/dns01"
)

// authorizationsAtOnce bounds how many are asked for at a time.
const authorizationsAtOnce = 8

// authorization is one that is still to be proven.
type authorization struct {
	url       string
	domain    string // as the certificate names it, "*." included
	challenge acme.Challenge
}

// authorize proves control of the domains that the CA does not know to be ours
// yet.
func (s *session) authorize(ctx context.Context, solver Prover, domains []string, order acme.ExtendedOrder, resumed bool) error {
	// One for each name (RFC 8555, section 7.1.3): a longer list would be fetched without end.
	if asked, named := len(order.Authorizations), len(domains); asked > named {
		return fmt.Errorf("the CA wants %d authorizations for %d names", asked, named)
	}
	open, err := s.openAuthorizations(order.Authorizations)
	if err != nil {
		return err
	}
	challenges := make([]dns01.Challenge, len(open))
	for i, a := range open {
		keyAuth, err := s.core.GetKeyAuthorization(a.challenge.Token)
		if err != nil {
			return fmt.Errorf("%s: %w", a.domain, problem(err))
		}
		challenges[i] = dns01.Challenge{Domain: base(a.domain), Token: a.challenge.Token, KeyAuth: keyAuth}
	}
	return solver.Solve(ctx, challenges, resumed, func(ctx context.Context, index int) error {
		return s.accept(ctx, open[index])
	})
}

func base(domain string) string {
	if len(domain) > 2 && domain[:2] == "*." {
		return domain[2:]
	}
	return domain
}

// openAuthorizations fetches authorizations and returns those that are pending.
func (s *session) openAuthorizations(urls []string) ([]authorization, error) {
	all := make([]*authorization, len(urls))
	errs := make([]error, len(urls))
	var group errgroup.Group
	group.SetLimit(authorizationsAtOnce)
	for i, url := range urls {
		group.Go(func() error {
			all[i], errs[i] = s.openAuthorization(url)
			return nil
		})
	}
	_ = group.Wait()
	if err := failures.Join(errs...); err != nil {
		return nil, err
	}
	var open []authorization
	for _, a := range all {
		if a != nil {
			open = append(open, *a)
		}
	}
	return open, nil
}

// openAuthorization is nil for one that was proven before.
func (s *session) openAuthorization(url string) (*authorization, error) {
	found, err := s.core.Authorizations.Get(url)
	if err != nil {
		return nil, fmt.Errorf("asking for an authorization: %w", s.problem(err))
	}
	domain := found.Identifier.Value
	if found.Wildcard {
		domain = "*." + domain
	}
	switch found.Status {
	case acme.StatusValid:
		return nil, nil
	case acme.StatusPending:
	default:
		return nil, invalid(domain, found)
	}
	i := slices.IndexFunc(found.Challenges, func(c acme.Challenge) bool { return c.Type == "dns-01" })
	if i < 0 {
		return nil, fmt.Errorf("%s: the CA does not offer to validate the domain by DNS-01", domain)
	}
	return &authorization{url: url, domain: domain, challenge: found.Challenges[i]}, nil
}

// accept tells the CA that the record is there, and waits for its verdict.
func (s *session) accept(ctx context.Context, a authorization) error {
	var refusal error
	if a.challenge.Status == acme.StatusPending {
		s.at(Presented)
		_, err := s.core.Challenges.New(a.challenge.URL)
		refusal = s.problem(err)
		s.at(Accepted)
	}
	if refusal != nil && !isRefusal(refusal) {
		return fmt.Errorf("%s: asking the CA to validate the domain: %w", a.domain, refusal)
	}
	return s.poll(ctx, a.url, a.domain, func() (bool, error) {
		found, err := s.core.Authorizations.Get(a.url)
		if err != nil {
			return false, fmt.Errorf("%s: asking for the authorization: %w", a.domain, s.problem(err))
		}
		switch {
		case found.Status == acme.StatusValid:
			return true, nil
		case found.Status != acme.StatusPending:
			return false, invalid(a.domain, found)
		case refusal != nil: // and not because a process before this one had asked
			return false, fmt.Errorf("%s: asking the CA to validate the domain: %w", a.domain, refusal)
		}
		return false, nil
	})
}

// invalid is the error of an authorization that failed. Its order has failed with
// it.
func invalid(domain string, found acme.Authorization) error {
	for _, challenge := range found.Challenges {
		if challenge.Error != nil {
			return &unusable{error: fmt.Errorf("%s: the CA could not validate the domain: %w", domain, problem(challenge.Error)), domain: domain}
		}
	}
	return &unusable{error: fmt.Errorf("%s: the CA could not validate the domain: its authorization is %q", domain, found.Status), domain: domain}
}
