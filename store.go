package anycert

import (
	"context"
	"crypto/x509"
	"strconv"
	"strings"
	"time"
)

// Store holds the only true copy of every certificate.
//
// Every method may be called by many goroutines at once, gives up when its context
// ends, and tells ErrNotFound, ErrDeleted, ErrForbidden, ErrUnavailable and
// ErrMalformed apart. An error names the certificate and the path, and shows
// nothing of what was read.
type Store interface {
	EntryReader

	// Names lists what the store shows: for people, never for deciding that
	// something is gone. It may be incomplete.
	Names(ctx context.Context) ([]string, error)

	// Get reads and verifies the bundle of one version. It fails with
	// ErrMalformed when certificate and key do not belong together.
	Get(ctx context.Context, name string, version int) (*Bundle, error)

	// Put writes a bundle as the next version, if expected is still the current
	// version (0: nothing was ever there), else ErrConflict. Certificate and key
	// are one write. The same bundle again over the same expected version, with
	// nothing written after it, reports the success that was. ErrUnindexed: a
	// later anycert wrote the entry's index; nothing is written.
	Put(ctx context.Context, name string, expected int, bundle *Bundle, origin Origin) (Entry, error)

	// Index makes Stat answer for an entry that someone wrote by hand: it reads
	// and verifies the current version and writes what Stat needs beside it. It
	// writes nothing when that is there already and true. The Entry that comes
	// with ErrForbidden is whole and verified if its Leaf is set: it may be read,
	// but not written. ErrUnindexed as well: a later anycert wrote what is beside
	// it, and that is left alone.
	Index(ctx context.Context, name string) (Entry, error)
}

// EntryReader is the half of a Store that sees no key. Whoever only compares is
// handed no more than this.
type EntryReader interface {
	// Stat tells about the current version without reading the key.
	// ErrUnindexed: see Index. The Entry that comes with ErrUnindexed or ErrDeleted
	// has Name, Version and Time, so that a Put can follow a deleted version.
	// A name that CheckName refuses is ErrMalformed, here and in every method.
	Stat(ctx context.Context, name string) (Entry, error)
}

// Entry is what the store says of a certificate, without its key.
type Entry struct {
	Name    string
	Version int       // counts from 1
	Time    time.Time // when this version was written, by the store's clock, UTC
	Digest  Digest
	Leaf    *x509.Certificate
	Origin  Origin
}

// Origin says how a version was obtained. It is zero for what a person wrote.
type Origin struct {
	Issuer    string `json:"issuer,omitempty"`    // name in the configuration
	Directory string `json:"directory,omitempty"` // ACME directory URL
	Profile   string `json:"profile,omitempty"`   // ACME profile asked for
	By        string `json:"by,omitempty"`        // who put it there by anycert, and how: "ops@laptop: rollback to 3"; empty for an issuer
}

// rollback stands in By between who went back, and to which version.
const rollback = ": rollback to "

// RolledBack is the origin of a version that somebody made of an older one, whose origin
// is o.
func (o Origin) RolledBack(who string, to int) Origin {
	o.By = who + rollback + strconv.Itoa(to)
	return o
}

// IsRollback reports whether somebody went back to an older version.
func (o Origin) IsRollback() bool { return strings.Contains(o.By, rollback) }

// Historian tells the past of a certificate, and can destroy it. A Store that keeps
// versions is one.
type Historian interface {
	// History lists the versions that the store still knows, the newest first, without
	// reading a key. Of a version that was written by hand and is not the current one,
	// the store knows its number and time alone.
	History(ctx context.Context, name string) ([]Past, error)

	// Destroy makes what versions held unreadable for good. It refuses the current
	// version with ErrRefused, and tells ErrForbidden. What is destroyed already, or
	// was never there, is no error.
	Destroy(ctx context.Context, name string, versions []int) error

	// NoteRevoked keeps beside versions that their certificates were revoked, for
	// History to tell; of several notes the last. The rest of an entry stays as it is. A
	// version that the store does not know is left out.
	NoteRevoked(ctx context.Context, name string, versions []int, revocation Revocation) error
}

// Revocation is what the store knows of one that was asked for by anycert. What was
// revoked at the CA by other means is not known.
type Revocation struct {
	Time   time.Time `json:"time"`         // when the CA had answered, UTC
	By     string    `json:"by,omitempty"` // who asked for it: user@host
	Reason string    `json:"reason"`       // one of RevocationReasons
}

// Past is one version of a certificate, without its key.
type Past struct {
	Version   int
	Time      time.Time // when it was written, by the store's clock, UTC
	Digest    Digest    // zero where the store does not know more
	NotBefore time.Time
	NotAfter  time.Time
	Origin    Origin
	Deleted   bool        // it can be undeleted by the store's own means
	Destroyed bool        // what it held is gone
	Revoked   *Revocation // nil: nothing is known of one
}

// Records keeps small things beside the certificates: accounts, journals of
// orders, budgets. They may hold keys. The promises of Store about errors,
// contexts and concurrency hold here as well. The kind "certs" is refused with
// ErrMalformed.
type Records interface {
	// Keys lists the records whose key begins with kind + "/", without it.
	Keys(ctx context.Context, kind string) ([]string, error)

	// Load reads a record: its value and its version. ErrNotFound when there is
	// none, also after Delete.
	Load(ctx context.Context, kind, key string) (Secret, int, error)

	// Save writes the next version if expected is still the current one (0: there
	// is none), else ErrConflict. It returns the new version.
	Save(ctx context.Context, kind, key string, expected int, value Secret) (int, error)

	// Delete destroys every version. What is not there is not an error.
	Delete(ctx context.Context, kind, key string) error
}

// The kinds of records.
const (
	KindOrder   = "orders"   // one journal for each certificate that is being obtained; holds its key
	KindAccount = "accounts" // the ACME accounts of each issuer; holds their keys
	KindBudget  = "budgets"  // what is left of the limits of each issuer's CA
	KindRenewal = "renewals" // for each certificate what the CA advised and what failed
	KindRequest = "requests" // what a person asked for, for each certificate, until it is done
	KindAlarm   = "alarms"   // for each hub what was told to whom
)
