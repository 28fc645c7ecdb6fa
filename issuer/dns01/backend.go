package dns01

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/go-acme/lego/v4/challenge"
	legodns01 "github.com/go-acme/lego/v4/challenge/dns01"
	"google.golang.org/api/googleapi"

	"github.com/anycert/anycert"
)

// backend writes the records of one provider. Its methods are called by several
// goroutines at once, but never for one record's name by two.
type backend interface {
	// present adds a value beside what else is at the name.
	present(ctx context.Context, r record) error
	// cleanUp takes away what present added. It is called for all values at a
	// name when none of them is needed any more.
	cleanUp(ctx context.Context, r record) error
	// pace says how long to wait for a record, and how often to look.
	pace() (timeout, interval time.Duration)
	// sequential says whether challenges are to be met one after the other, and
	// how long to pause between.
	sequential() (pause time.Duration, is bool)
}

// record is a TXT record to be written.
type record struct {
	Challenge
	name string // where it is written: CNAMEs followed, with the final dot
	// hides says that a CNAME there is a wildcard's, and not to be followed.
	hides bool
}

// legoBackend is one of lego's providers. These take no context: a call whose
// context ends is left behind, and ends by the time-outs of the provider.
type legoBackend struct {
	provider  challenge.Provider
	resolvers []string
	exclusive string // locked for a call; empty where calls do not disturb each other
	locks     *Locks
	denials   *atomic.Int64 // that the provider's API answered; nil: not counted
}

func (b legoBackend) present(ctx context.Context, r record) error {
	before := b.denied()
	err := b.call(ctx, r, func() error { return b.provider.Present(r.Domain, r.Token, r.KeyAuth) })
	if err != nil && (b.denied() > before || deniedByCloud(err)) {
		return denial{err}
	}
	return err
}

func (b legoBackend) cleanUp(ctx context.Context, r record) error {
	return b.call(ctx, r, func() error { return b.provider.CleanUp(r.Domain, r.Token, r.KeyAuth) })
}

func (b legoBackend) denied() int64 {
	if b.denials == nil {
		return 0
	}
	return b.denials.Load()
}

// denial is the answer of a DNS provider that its credential may not do what was asked.
// It is [anycert.ErrForbidden].
type denial struct{ error }

func (d denial) Unwrap() error      { return d.error }
func (denial) Is(target error) bool { return target == anycert.ErrForbidden }

// deniedByCloud reads the errors of the clouds' own clients.
func deniedByCloud(err error) bool {
	var amazon interface{ HTTPStatusCode() int }
	google, azure := new(googleapi.Error), new(azcore.ResponseError)
	return errors.As(err, &amazon) && denies(amazon.HTTPStatusCode()) ||
		errors.As(err, &google) && denies(google.Code) ||
		errors.As(err, &azure) && denies(azure.StatusCode)
}

func (b legoBackend) pace() (timeout, interval time.Duration) {
	if provider, ok := b.provider.(challenge.ProviderTimeout); ok {
		return provider.Timeout()
	}
	return legodns01.DefaultPropagationTimeout, legodns01.DefaultPollingInterval
}

func (b legoBackend) sequential() (time.Duration, bool) {
	if provider, ok := b.provider.(interface{ Sequential() time.Duration }); ok {
		return provider.Sequential(), true
	}
	return 0, false
}

// call runs f, which asks lego's resolvers, and waits no longer than ctx.
func (b legoBackend) call(ctx context.Context, r record, f func() error) error {
	done := make(chan error, 1)
	go func() {
		if b.exclusive != "" {
			unlock, err := b.locks.lock(ctx, b.exclusive)
			if err != nil {
				done <- err
				return
			}
			defer unlock()
		}
		release := lego.use(b.resolvers, !r.hides)
		defer release()
		defer func() {
			if p := recover(); p != nil {
				done <- fmt.Errorf("lego's provider panicked: %v", p)
			}
		}()
		done <- f()
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
