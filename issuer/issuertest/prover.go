package issuertest

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"

	"github.com/anycert/anycert/issuer"
	"github.com/anycert/anycert/issuer/dns01"
)

// DNS holds the challenge records that a model's clients write. It is safe for
// concurrent use.
type DNS struct {
	mu      sync.Mutex
	records map[string]map[string]bool
	lost    func(domain string) bool
	refused bool
}

// Lose lets the CA find no record of the domains for which f is true; nil: all is well.
func (d *DNS) Lose(f func(domain string) bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lost = f
}

// Refuse lets no client in: its token is refused.
func (d *DNS) Refuse(refused bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refused = refused
}

func (d *DNS) set(domain, value string, there bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.refused {
		return errors.New("the DNS provider refuses the token: give it a new one")
	}
	if d.records == nil {
		d.records = map[string]map[string]bool{}
	}
	if d.records[domain] == nil {
		d.records[domain] = map[string]bool{}
	}
	d.records[domain][value] = there
	return nil
}

// check is the CA's validation (RFC 8555, section 8.4).
func (d *DNS) check(domain, keyAuth string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lost != nil && d.lost(domain) || !d.records[domain][digest(keyAuth)] {
		return fmt.Errorf("no TXT record at _acme-challenge.%s", domain)
	}
	return nil
}

func digest(keyAuth string) string {
	sum := sha256.Sum256([]byte(keyAuth))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Prover is a Prover for issuers that writes into d.
func (d *DNS) Prover(context.Context, issuer.Config) (issuer.Prover, error) { return prover{d}, nil }

type prover struct{ dns *DNS }

func (p prover) Look(context.Context, []string) error { return nil }

func (p prover) Preflight(context.Context, dns01.About) []dns01.Finding { return nil }

func (p prover) Solve(ctx context.Context, challenges []dns01.Challenge, _ bool, accept func(context.Context, int) error) error {
	var errs []error
	for index, challenge := range challenges {
		value := digest(challenge.KeyAuth)
		if err := p.dns.set(challenge.Domain, value, true); err != nil {
			return err
		}
		errs = append(errs, accept(ctx, index))
		if err := p.dns.set(challenge.Domain, value, false); err != nil {
			return err
		}
	}
	return errors.Join(errs...)
}
