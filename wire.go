package anycert

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"time"
)

// Endpoint is where the world is served a certificate. An observation of a target asks
// the provider what it holds; a handshake with an endpoint sees what comes of that.
type Endpoint struct {
	// Address is HOST:PORT. A host that is a name is looked up, and each of its
	// addresses, A and AAAA, is one that somebody is served from.
	Address string
	// ServerName is what a client asks for (SNI), in lower case, and what the
	// certificate must be for.
	ServerName string
	// Roots are what a chain must lead to. nil: nobody said; a chain that the roots
	// of this machine do not know can then belong to a CA of one's own.
	Roots *x509.CertPool
}

// String is the address, with the name where that is another.
func (e Endpoint) String() string {
	if host, _, err := net.SplitHostPort(e.Address); err == nil && host == e.ServerName {
		return e.Address
	}
	return e.Address + " (" + e.ServerName + ")"
}

// Handshake is one that is wanted: with every address of an endpoint, as a client that
// understands certificates of a type of key. A server may have one of each type.
type Handshake struct {
	Endpoint Endpoint
	KeyType  KeyType // the empty one: whatever the server would rather show
}

// Served is what one address of an endpoint showed.
type Served struct {
	Endpoint Endpoint
	IP       netip.Addr          // not valid where the host could not be looked up
	Chain    []*x509.Certificate // leaf first, as it came: nothing of it was trusted or verified
	Err      error               // why nothing was seen; Chain is empty then
	At       time.Time
}

// Witness sees what the world is served. It shakes hands as any client does, sends
// nothing, knows no key, and believes nothing that it is shown.
type Witness interface {
	// Look shakes hands with every address of each endpoint, and tells in the order
	// of wanted what was shown: at least one Served for each. It is one look: an
	// address is asked once for a name, however often that is wanted. Every handshake
	// has a time limit; it gives up when the context ends. Safe for concurrent use.
	Look(ctx context.Context, wanted []Handshake) [][]Served
}

// ErrNoRoute is in the Err of a Served when this machine has no way to an address at
// all: it has no IPv6, mostly. It tells nothing of who is there.
var ErrNoRoute = errors.New("this machine has no way there")

// Front is how the world meets a target whose provider serves what it holds.
type Front struct {
	// Names are what clients ask for. A wildcard stands for names that nobody here
	// can tell.
	Names []string
	// Public is set when the API is the provider's own: each name that is no wildcard
	// is then served at NAME:443, unless the configuration says otherwise.
	Public bool
	// Keeper is who serves, for people: "Fastly".
	Keeper string
	// Remedy is what a person does when the target holds the right certificate and
	// the world is served another: anycert can do no more then.
	Remedy string
}

// Optional powers of a [Sink] that are about what the world sees.
type (
	// Fronted knows from its configuration what the world asks for at a target.
	Fronted interface {
		Front(target Target) Front
	}

	// LookalikeLister finds what nobody would tell from our copies, and is none:
	// objects of others that hold a certificate for one of the names. declared are
	// the targets of all sinks of its type. Used by an audit, for people alone: an
	// object of others is never touched.
	LookalikeLister interface {
		Lookalikes(ctx context.Context, names []string, declared []Target) ([]Lookalike, error)
	}
)

// Lookalike is an object of somebody else for names of ours.
type Lookalike struct {
	Label    string    // for people
	Names    []string  // that its certificate is for
	NotAfter time.Time // of its certificate, UTC
	Owner    string    // whose it is, as far as can be told; for people
}
