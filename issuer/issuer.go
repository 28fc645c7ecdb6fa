// Package issuer obtains certificates from ACME CAs (RFC 8555) by DNS-01 and puts
// them into the store.
//
// An order is kept in a journal, written before each step that could be lost, so
// that whoever comes after a crash goes on with the same order, key and CSR. The
// journal is the claim as well: of two processes that want one certificate, one
// makes the order.
package issuer

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/issuer/dns01"
)

// Options are what an Issuer needs. Now and At may be left out.
type Options struct {
	Issuers    []Config // checked before
	Store      anycert.Store
	Records    anycert.Records // beside the store: journals and accounts
	Credential func(anycert.Reference) anycert.Credential
	UserAgent  string // "anycert/<version>"

	// History is the past of the store's certificates; nil where it is not known, and
	// then nothing is ever destroyed.
	History anycert.Historian

	Now func() time.Time // default: time.Now
	// Transport and Prover take the place of the network in tests.
	Transport func(Config) http.RoundTripper
	Prover    func(context.Context, Config) (Prover, error)
	// At is called at each named point of an order's way, for tests that end the
	// process there, at some by several goroutines at once. See the constants.
	At func(point Point)
}

// Point is a moment on an order's way at which a process may die.
type Point string

// The points, in their order. Between any two neighbours lies one call to another
// system, but for those within dns01.
const (
	Begun          Point = "begun"           // nothing was written
	IntentWritten  Point = "intent-written"  // the key and the CSR are in the journal
	AccountBefore  Point = "account-before"  // the store has the account's key; once in the life of an account
	AccountMade    Point = "account-made"    // the CA has the account, the store not its URL
	LimitsTaken    Point = "limits-taken"    // the order counts, the journal does not say so
	OrderBefore    Point = "order-before"    // the journal says that the order is about to be made
	OrderCreated   Point = "order-created"   // the CA has the order, the journal not its URL
	OrderWritten   Point = "order-written"   // the journal has it
	Presented      Point = "presented"       // the records of a domain were seen, the CA was not told
	Accepted       Point = "accepted"        // the CA was told
	Authorized     Point = "authorized"      // the CA knows that the domains are ours
	FinalizeBefore Point = "finalize-before" // the journal was written once more
	Finalized      Point = "finalized"       // the CA has the CSR
	Downloaded     Point = "downloaded"      // the certificate is here, and verified
	StoreBefore    Point = "store-before"    // the journal was written once more
	Stored         Point = "stored"          // the store has it
	Forgotten      Point = "forgotten"       // the failures before it are not kept any more
	Ended          Point = "ended"           // the journal holds no key any more and is about to be deleted

	FailureWritten Point = "failure-written" // the failure is kept, the journal is still claimed
)

// Points are all points, in their order; the last is on the way of an order that fails.
func Points() []Point {
	return []Point{Begun, IntentWritten, AccountBefore, AccountMade, LimitsTaken, OrderBefore, OrderCreated, OrderWritten,
		Presented, Accepted, Authorized, FinalizeBefore, Finalized, Downloaded, StoreBefore, Stored, Forgotten, Ended, FailureWritten}
}

// Issuer implements [anycert.Issuer] for all configured issuers.
type Issuer struct {
	configs    map[string]Config
	cas        map[string]*ca
	store      anycert.Store
	records    anycert.Records
	credential func(anycert.Reference) anycert.Credential
	now        func() time.Time
	at         func(Point)
	holder     string      // of claims: random
	locks      dns01.Locks // on the names of DNS records

	mu       sync.Mutex
	underWay map[string]bool // certificates that this Issuer is at

	outlooks outlooks // what is kept about renewals, as it was read last
	requests requests // what people asked for, likewise
	budgets  budgets  // what is left of limits, likewise
	history  anycert.Historian
	prover   func(context.Context, Config) (Prover, error)
}

// Prover proves control of the domains of one order. It is a *dns01.Solver but in tests.
type Prover interface {
	// Look is dns01's: it tells which domains cannot be proven from here.
	Look(ctx context.Context, domains []string) error
	// Preflight is dns01's: it finds what would fail before the CA is asked.
	Preflight(ctx context.Context, about dns01.About) []dns01.Finding
	// Solve is dns01's.
	Solve(ctx context.Context, challenges []dns01.Challenge, resumed bool, accept func(ctx context.Context, index int) error) error
}

var _ anycert.Issuer = (*Issuer)(nil)

// New makes an Issuer. It asks nobody.
func New(o Options) (*Issuer, error) {
	dns01.Silence()
	i := &Issuer{
		configs:    map[string]Config{},
		cas:        map[string]*ca{},
		store:      o.Store,
		records:    o.Records,
		credential: o.Credential,
		now:        o.Now,
		at:         o.At,
		holder:     rand.Text(),
		underWay:   map[string]bool{},
		history:    o.History,
		prover:     o.Prover,
	}
	if i.prover == nil {
		i.prover = func(ctx context.Context, config Config) (Prover, error) {
			return config.DNS.Open(ctx, dns01.Env{Credential: i.credential, Locks: &i.locks, Propagation: config.Propagation})
		}
	}
	if i.now == nil {
		i.now = time.Now
	}
	if i.at == nil {
		i.at = func(Point) {}
	}
	o.At = i.at
	for _, config := range o.Issuers {
		if _, twice := i.configs[config.Name]; twice {
			return nil, fmt.Errorf("two issuers are named %s", config.Name)
		}
		if problems := config.Check(); len(problems) > 0 {
			return nil, fmt.Errorf("issuer %s: %s: %s", config.Name, problems[0].Field, problems[0].Text)
		}
		i.configs[config.Name] = config
		i.cas[config.Name] = newCA(config, o)
	}
	return i, nil
}

// Unfinished implements [anycert.Issuer].
func (i *Issuer) Unfinished(ctx context.Context) ([]string, error) {
	names, err := i.records.Keys(ctx, anycert.KindOrder)
	if err != nil {
		return nil, fmt.Errorf("listing the journals of orders: %w", err)
	}
	return names, nil
}

// Obtain implements [anycert.Issuer].
func (i *Issuer) Obtain(ctx context.Context, certificate anycert.Certificate) (anycert.Entry, error) {
	w := &work{Issuer: i, certificate: certificate, ca: i.cas[certificate.Issuer]}
	entry, err := w.obtain(ctx)
	if err != nil {
		name := certificate.Issuer
		if w.ca != nil {
			name = w.ca.Name
		}
		return anycert.Entry{}, fmt.Errorf("obtaining certificate %s from issuer %s: %w", certificate.Name, name, err)
	}
	return entry, nil
}

func (w *work) obtain(ctx context.Context) (anycert.Entry, error) {
	if w.ca == nil {
		return anycert.Entry{}, errors.New("no issuer of this name is configured")
	}
	if !w.begin(w.certificate.Name) {
		return anycert.Entry{}, anycert.ErrClaimed
	}
	defer w.end(w.certificate.Name)
	if entry, done, err := w.open(ctx); done || err != nil {
		return entry, err
	}
	w.at(Begun)
	solver, err := w.prepare(ctx)
	if err != nil {
		return anycert.Entry{}, w.keepFailure(ctx, err)
	}
	if err := w.claim(ctx); err != nil {
		return anycert.Entry{}, err
	}
	return w.do(ctx, solver)
}

// begin keeps the goroutines of this Issuer apart; the claim in the journal keeps
// all others away.
func (i *Issuer) begin(name string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.underWay[name] {
		return false
	}
	i.underWay[name] = true
	return true
}

func (i *Issuer) end(name string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.underWay, name)
}

// wants is what an order for certificate asks this CA for.
func (c *ca) wants(certificate anycert.Certificate) want {
	kind := certificate.KeyType
	if kind == "" {
		kind = anycert.KeyTypes()[0]
	}
	return want{
		Domains:   sorted(certificate.Domains),
		Issuer:    c.Name,
		Directory: c.directory,
		Profile:   c.Profile,
		KeyType:   kind,
		ReuseKey:  certificate.ReuseKey,
	}
}
