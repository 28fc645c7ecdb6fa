package issuer

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/failures"
)

// requestSchema is the version of a kept request that this code writes, and the
// highest that it reads.
const requestSchema = 1

// keptRequest is a request as the store keeps it, under check-and-set. It holds no key.
type keptRequest struct {
	Schema int `json:"schema"`
	// Done marks a request that was settled: who asked and up to which version is all that
	// is left of it. The record is about to be deleted.
	Done bool `json:"done,omitempty"`

	wish
	// Old are the certificates to be revoked: whoever settles the request must not
	// depend on what the store still has of them.
	Old []old `json:"old,omitempty"`

	Attempts int       `json:"attempts,omitempty"` // to revoke, that failed
	Error    string    `json:"error,omitempty"`    // of the last one; shows no secret
	Next     time.Time `json:"next,omitzero"`      // not tried before
}

// wish is an anycert.Request with the names that it has in the store.
type wish struct {
	Time        time.Time `json:"time"`
	Begun       time.Time `json:"begun,omitzero"`
	By          string    `json:"by,omitempty"`
	Version     int       `json:"version"`
	RotateKey   bool      `json:"rotate_key,omitempty"`
	Compromised bool      `json:"compromised,omitempty"`
	Superseded  bool      `json:"superseded,omitempty"`
	Deadline    time.Time `json:"deadline,omitzero"`
}

// old is a version that is to be revoked, and destroyed where its key is known to
// others.
type old struct {
	Version int            `json:"version"`
	Serial  string         `json:"serial,omitempty"` // in hexadecimal, as people look for it
	Leaf    []byte         `json:"leaf,omitempty"`   // DER; none where the version cannot be read any more
	Origin  anycert.Origin `json:"origin,omitzero"`
	Revoked bool           `json:"revoked,omitempty"`
}

// requests are what people asked for, as it was read last.
type requests struct {
	mu    sync.Mutex
	known map[string]recalled
}

// recalled is a request, and when it was read; zero for one that is only supposed.
type recalled struct {
	request anycert.Request
	at      time.Time
}

const (
	// fewRequests are read anew whenever they are recalled.
	fewRequests = 32
	// staleRequest is for how long one of more than that is taken for what it was.
	staleRequest = 5 * time.Minute
)

// recallRequests reads what people asked for: one listing, and those of it that are
// not known or were read long ago. One that could not be read stays as it was.
func (i *Issuer) recallRequests(ctx context.Context) error {
	if len(i.cas) == 0 { // nobody can be asked for anything, and no right to list is needed
		return nil
	}
	names, err := i.records.Keys(ctx, anycert.KindRequest)
	if err != nil {
		return fmt.Errorf("listing what people asked for: %w", err)
	}
	before := i.requests.all()
	known := make(map[string]recalled, len(names))
	var failed []error
	for _, name := range names {
		past, ok := before[name]
		if ok && len(names) > fewRequests && !past.at.IsZero() && i.now().Sub(past.at) < staleRequest {
			known[name] = past
			continue
		}
		record, _, err := i.loadAsked(ctx, name)
		switch {
		case err != nil:
			failed = append(failed, err)
			if ok && !past.at.IsZero() {
				known[name] = past
			}
		case record != nil:
			known[name] = recalled{anycert.Request(record.wish), i.now()}
		}
	}
	i.requests.mu.Lock()
	defer i.requests.mu.Unlock()
	for name, request := range i.requests.known {
		if _, was := before[name]; !was && !request.at.IsZero() {
			known[name] = request // asked for in this process while the others were read
		}
	}
	i.requests.known = known
	return failures.Join(failed...)
}

// requested is what a person asked for about a certificate whose current version is
// the one given (0: none), as it was read last; nil when nothing is to be replaced.
func (i *Issuer) requested(name string, version int) *anycert.Request {
	i.requests.mu.Lock()
	defer i.requests.mu.Unlock()
	found, ok := i.requests.known[name]
	if !ok || version > found.request.Version {
		return nil
	}
	return &found.request
}

// Requests implements [anycert.Requester].
func (i *Issuer) Requests() map[string]anycert.Request {
	requests := make(map[string]anycert.Request)
	for name, found := range i.requests.all() {
		requests[name] = found.request
	}
	return requests
}

// Suppose implements [anycert.Requester].
func (i *Issuer) Suppose(certificate anycert.Certificate, request anycert.Request) {
	i.requests.set(certificate.Name, recalled{request: request})
}

// all is a copy.
func (r *requests) all() map[string]recalled {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.known)
}

func (r *requests) set(name string, request recalled) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known == nil {
		r.known = make(map[string]recalled)
	}
	r.known[name] = request
}

func (r *requests) forget(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.known, name)
}

// loadAsked reads a request and the version of its record; nil and 0 when there is none.
func (i *Issuer) loadAsked(ctx context.Context, name string) (*keptRequest, int, error) {
	record := new(keptRequest)
	version, err := form{kind: anycert.KindRequest, schema: requestSchema, holds: "what was asked for about certificate " + name,
		record: "the request", cure: ": delete it, and ask again", newer: "upgrade this one, or let the newer one finish"}.load(ctx, i.records, name, record)
	if err != nil || version == 0 {
		return nil, 0, err
	}
	return record, version, nil
}

// saveAsked writes a request as the version after expected.
func (i *Issuer) saveAsked(ctx context.Context, name string, expected int, record keptRequest) (int, error) {
	record.Schema = requestSchema
	text, err := json.Marshal(record)
	if err == nil {
		expected, err = i.records.Save(ctx, anycert.KindRequest, name, expected, anycert.NewSecret(string(text)))
	}
	if err != nil {
		return 0, fmt.Errorf("keeping what was asked for about certificate %s: %w", name, err)
	}
	return expected, nil
}
