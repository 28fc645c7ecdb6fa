package issuer

import (
	"context"
	"fmt"
	"net/http"
	"sync"

	"github.com/go-acme/lego/v4/acme/api"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/trusted"
)

// ca is one configured issuer at work.
type ca struct {
	Config
	directory  string
	records    anycert.Records
	credential func(anycert.Reference) anycert.Credential
	userAgent  string

	advising advising
	at       func(Point)

	// staging is the same CA for trying out; nil where none is configured. Its account
	// is kept beside that of the CA itself.
	staging *ca

	fixed http.RoundTripper // in tests, instead of a transport of our own

	turn chan struct{} // holds one token: accounts are made one at a time

	mu        sync.Mutex
	bundle    string // the text of ca_bundle that transport trusts
	transport *http.Transport
}

func newCA(config Config, o Options) *ca {
	c := &ca{
		Config:     config,
		directory:  config.DirectoryURL(),
		records:    o.Records,
		credential: o.Credential,
		userAgent:  o.UserAgent,
		at:         o.At,
		turn:       make(chan struct{}, 1),
	}
	if o.Transport != nil {
		c.fixed = o.Transport(config)
	}
	if config.Staging != "" {
		rehearsal := config
		rehearsal.Directory, rehearsal.Staging, rehearsal.EAB = config.Staging, "", nil // a binding is good for one CA
		c.staging = newCA(rehearsal, o)
	}
	c.leave()
	return c
}

func (c *ca) enter(ctx context.Context) error {
	select {
	case <-c.turn:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (c *ca) leave() { c.turn <- struct{}{} }

// session speaks to the CA for one order.
type session struct {
	*ca
	core    *api.Core
	bound   *bound
	account account
}

// connect opens a session of the issuer's account. gone is what the CA does not take any
// more, as for account.
func (c *ca) connect(ctx context.Context, gone account) (*session, error) {
	mine, err := c.account(ctx, gone)
	if err != nil {
		return nil, err
	}
	return c.open(ctx, mine)
}

// open asks for the CA's directory.
func (c *ca) open(ctx context.Context, mine account) (*session, error) {
	key, err := anycert.ParseKey([]byte(mine.Key))
	if err != nil {
		return nil, fmt.Errorf("the ACME account %s/%s: %w", anycert.KindAccount, c.Name, err)
	}
	transport, err := c.trusting()
	if err != nil {
		return nil, err
	}
	core, b, err := newCore(ctx, transport, c.userAgent, c.directory, mine.URL, key)
	if err != nil {
		return nil, fmt.Errorf("asking the CA for its directory: %w", err)
	}
	return &session{ca: c, core: core, bound: b, account: mine}, nil
}

// trusting returns the issuer's transport. It is made anew when the file of CAs
// has changed.
func (c *ca) trusting() (http.RoundTripper, error) {
	if c.fixed != nil {
		return c.fixed, nil
	}
	var bundle []byte
	if c.CABundle != "" {
		var err error
		if bundle, err = trusted.Read(c.CABundle, maxRoots); err != nil {
			return nil, unreadable(fmt.Errorf("reading ca_bundle: %w", err))
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.transport != nil && c.bundle == string(bundle) {
		return c.transport, nil
	}
	roots, err := parseRoots(c.CABundle, bundle)
	if err != nil {
		return nil, unreadable(err)
	}
	if c.transport != nil {
		c.transport.CloseIdleConnections()
	}
	c.transport, c.bundle = newTransport(roots), string(bundle)
	return c.transport, nil
}
