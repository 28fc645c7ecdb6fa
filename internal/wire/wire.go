// Package wire sees what the world is served: it shakes hands with servers as any TLS
// client does, keeps the chain that they show, and hangs up. Nothing of the chain is
// trusted here, no request is made, and no key is used.
//
// It connects by itself, as clients of the world do, and through no proxy.
package wire

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/anycert/anycert"
)

const (
	// Timeout is for looking up one host, and for one handshake: a server that takes
	// longer keeps people waiting too.
	Timeout = 5 * time.Second

	atOnce = 64 // handshakes under way
)

// Options vary a Witness; the zero value is what a client of the world does.
type Options struct {
	// Resolve looks up the addresses of a host: network is "ip4" or "ip6".
	Resolve func(ctx context.Context, network, host string) ([]netip.Addr, error)
	// Dial connects to an address.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Timeout takes the place of the constant.
	Timeout time.Duration
}

// Witness implements [anycert.Witness].
type Witness struct{ options Options }

var _ anycert.Witness = (*Witness)(nil)

// New makes a witness.
func New(options Options) *Witness {
	if options.Resolve == nil {
		options.Resolve = net.DefaultResolver.LookupNetIP
	}
	if options.Dial == nil {
		options.Dial = new(net.Dialer).DialContext
	}
	if options.Timeout == 0 {
		options.Timeout = Timeout
	}
	return &Witness{options}
}

// Look implements [anycert.Witness].
func (w *Witness) Look(ctx context.Context, wanted []anycert.Handshake) [][]anycert.Served {
	l := &look{Witness: w, places: map[string]place{}, shown: map[question]shown{}, deaf: map[netip.AddrPort]error{}}
	l.findAll(ctx, wanted)
	l.askAll(ctx, l.first(wanted))
	l.askAll(ctx, l.second(wanted))
	served := make([][]anycert.Served, len(wanted))
	for i, handshake := range wanted {
		served[i] = l.served(handshake)
	}
	return served
}

// look is one look at many endpoints: what was found out is found out once.
type look struct {
	*Witness

	mu     sync.Mutex
	places map[string]place // by the address of an endpoint
	shown  map[question]shown
	deaf   map[netip.AddrPort]error // addresses to which there is no connection, whoever is asked for there
}

// question is one handshake. The kind is that of the only certificates that the client
// says it understands; the empty one: all.
type question struct {
	at   netip.AddrPort
	name string
	kind kind
}

// each calls do for every item, many at a time, each within the time limit.
func each[T comparable](ctx context.Context, w *Witness, items map[T]bool, do func(context.Context, T)) {
	var group errgroup.Group
	group.SetLimit(atOnce)
	for item := range items {
		group.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, w.options.Timeout)
			defer cancel()
			do(ctx, item)
			return nil
		})
	}
	_ = group.Wait()
}

func (l *look) findAll(ctx context.Context, wanted []anycert.Handshake) {
	addresses := map[string]bool{}
	for _, handshake := range wanted {
		addresses[handshake.Endpoint.Address] = true
	}
	each(ctx, l.Witness, addresses, func(ctx context.Context, address string) {
		found := l.find(ctx, address)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.places[address] = found
	})
}

// first are the questions of a client that understands all certificates.
func (l *look) first(wanted []anycert.Handshake) map[question]bool {
	questions := map[question]bool{}
	for _, handshake := range wanted {
		for _, at := range l.places[handshake.Endpoint.Address].at {
			questions[question{at, handshake.Endpoint.ServerName, ""}] = true
		}
	}
	return questions
}

// second are the questions to servers that showed a certificate of another kind than
// was wanted: they may have one of each.
func (l *look) second(wanted []anycert.Handshake) map[question]bool {
	questions := map[question]bool{}
	for _, handshake := range wanted {
		for _, at := range l.places[handshake.Endpoint.Address].at {
			first := l.shown[question{at, handshake.Endpoint.ServerName, ""}]
			want := kindOfType(handshake.KeyType)
			if first.err == nil && want != "" && want != kindOf(first.chain) {
				questions[question{at, handshake.Endpoint.ServerName, want}] = true
			}
		}
	}
	return questions
}

func (l *look) askAll(ctx context.Context, questions map[question]bool) {
	each(ctx, l.Witness, questions, func(ctx context.Context, q question) {
		answer := l.ask(ctx, q)
		answer.at = time.Now().UTC()
		l.mu.Lock()
		defer l.mu.Unlock()
		l.shown[q] = answer
	})
}

// served gathers what was found out for one handshake.
func (l *look) served(handshake anycert.Handshake) []anycert.Served {
	found := l.places[handshake.Endpoint.Address]
	var all []anycert.Served
	for _, at := range found.at {
		answer := l.shown[question{at, handshake.Endpoint.ServerName, ""}]
		if second, asked := l.shown[question{at, handshake.Endpoint.ServerName, kindOfType(handshake.KeyType)}]; asked {
			answer = answer.or(second)
		}
		all = append(all, anycert.Served{Endpoint: handshake.Endpoint, IP: at.Addr(), Chain: answer.chain, Err: answer.err, At: answer.at})
	}
	for _, err := range found.errs {
		all = append(all, anycert.Served{Endpoint: handshake.Endpoint, Err: err, At: time.Now().UTC()})
	}
	return all
}
