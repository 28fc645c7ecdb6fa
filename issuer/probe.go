package issuer

import (
	"context"
	"fmt"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/issuer/dns01"
)

// Probe tries whether an issuer can be used: its secrets can be read, its DNS
// providers can be made, and its CA answers and has the profile. It changes
// nothing; whether the DNS credentials suffice, only an order tells.
func (i *Issuer) Probe(ctx context.Context, name string) error {
	c, ok := i.cas[name]
	if !ok {
		return fmt.Errorf("no issuer is named %s", name)
	}
	if err := i.probe(ctx, c); err != nil {
		return fmt.Errorf("issuer %s: %w", name, err)
	}
	return nil
}

func (i *Issuer) probe(ctx context.Context, c *ca) error {
	if _, err := c.DNS.Open(ctx, dns01.Env{Credential: i.credential, Locks: &i.locks}); err != nil {
		return err
	}
	if _, _, err := c.bindingKey(ctx); err != nil {
		return err
	}
	key, err := newKeyPEM(anycert.EC256) // that the CA never sees: its directory is open to all
	if err != nil {
		return err
	}
	s, err := c.open(ctx, account{Key: key})
	if err != nil {
		return err
	}
	return s.checkProfile()
}
