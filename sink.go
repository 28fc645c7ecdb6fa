package anycert

import (
	"context"
	"time"
)

// Sink is one agent that holds copies of certificates: a cluster, a CDN account,
// an app, a directory. It is judged by what can be observed there, never by what
// was sent.
//
// A sink does not retry, log, compare or schedule: reconcile does that once, for
// all. Its methods may be called by several goroutines at once, give up when the
// context ends, wrap ErrForbidden, ErrUnavailable and ErrRefused where they apply,
// and never show a key or a token, not even when a server echoes it.
type Sink interface {
	Observer

	// Targets lists the places where a certificate for names belongs, from the
	// configuration alone: nothing is asked, and the answer is always the same.
	// An error is a mistake in the configuration.
	Targets(certificate string, names []string) ([]Target, error)

	// Push makes a target hold bundle, the version that entry speaks of, and
	// leaves the mark there. Certificate and key change together. When it fails
	// the old copy is still served; doing it twice is harmless; what belongs to
	// someone else is not touched (ErrRefused). Success is not believed: the next
	// pass observes.
	Push(ctx context.Context, target Target, entry Entry, bundle *Bundle) error
}

// Observer tells what a target serves. Whoever plans is handed an Observer and
// no more, so that planning cannot write.
type Observer interface {
	// Observe reads one target and changes nothing. A target where nothing is, is
	// no error: Found is false. An error means that it could not be told.
	Observe(ctx context.Context, target Target) (Observed, error)
}

// Target is one place in a sink that one certificate belongs to.
type Target struct {
	// Key is the same however the sink was reached, for example
	// "k8s://<server>/web/example-tls". Two sinks that claim one key are refused.
	Key string
	// Label is for people, and the place's address within its sink:
	// "web/example-tls", "<configuration>/<domain>", a hostname, a directory.
	Label string
	// Certificate is the name of the certificate that belongs there.
	Certificate string
}

// Observed is what was seen at a target. A sink fills in what it knows and leaves
// the rest zero; it does not judge.
type Observed struct {
	Found    bool
	Evidence Evidence // what the fields below are worth; set when Found

	Digest   Digest    // of the whole chain; Exact evidence only
	SPKI     SPKI      // of the key that lies there, derived from that key; zero where it cannot be seen
	Serial   string    // decimal, of the leaf; Serial evidence
	NotAfter time.Time // of the leaf, UTC; every evidence
	// NotBefore is that of the leaf, UTC; zero where the provider does not tell.
	NotBefore time.Time
	Names     []string // of the leaf; Serial evidence
	Issuer    string   // for people, as the provider spells it; never compared

	// Mark is what we left there; nil when there is none that can be read.
	Mark *Mark
	// Unmarkable is set where the provider has no place for a mark.
	Unmarkable bool

	// Foreign says why the object must not be touched: whose it is, or what
	// forbids it, and what the person can do. Empty when it is ours, adoptable
	// or absent.
	Foreign string
	// Waiting says what is still missing until the provider serves what it was
	// given, and who has to do what. Empty when nothing is.
	Waiting string
	// Deviations are the things beside the certificate that are not as promised,
	// and that a Push would mend.
	Deviations []Deviation
	// Writer names who changed the object last, when it is known not to be us.
	Writer string
}

// Deviation is something beside the certificate that is not as promised.
type Deviation struct {
	Kind   string // a word from a closed set for each sink: mode, owner, type, label, activation, reload
	Detail string // for people: what is, and what should be
}

// Evidence is how strong a seeing was.
type Evidence string

const (
	// Exact: the bytes were compared.
	Exact Evidence = "exact"
	// Serial: serial number, end and names; a drift in the chain alone is not seen.
	Serial Evidence = "serial"
	// Dates: the end of validity; another certificate with the same end is not seen.
	Dates Evidence = "dates"
)

// Optional powers of a sink. Each is used when a sink has it.
type (
	// Surveyor can see all its targets with a few listings. The Observer that
	// Survey returns answers from these listings, for one pass.
	Surveyor interface {
		Survey(ctx context.Context) (Observer, error)
	}

	// Finisher has something to do once after all pushes of a pass, or when
	// something was left to do by a pass that did not end: reload a server.
	Finisher interface {
		Finish(ctx context.Context) error
	}

	// OrphanLister finds objects that carry our mark and belong to none of the
	// declared targets, which are those of all sinks of its type.
	OrphanLister interface {
		Orphans(ctx context.Context, declared []Target) ([]Orphan, error)
	}

	// OrphanRemover deletes one orphan, after looking again that it still carries
	// our mark and is not in use; else ErrRefused. Only `prune --yes` calls it.
	OrphanRemover interface {
		Remove(ctx context.Context, orphan Orphan) error
	}

	// Prober tries whether the sink can be reached with the rights that it needs,
	// and changes nothing: `check --connect`.
	Prober interface {
		Probe(ctx context.Context) error
	}
)

// Orphan is an object that carries our mark and is no longer declared.
type Orphan struct {
	Key   string // the sink's own address of the object
	Label string // for people
	Mark  Mark
}
