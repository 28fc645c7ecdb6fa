// Package issuertest holds the laws of package issuer toward its CA, and a model of a
// CA to try them on. The same suite passes over real Pebble.
package issuertest

import (
	"crypto/x509"
	"errors"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/acmeserver"
	"github.com/anycert/anycert/internal/testenv/calimits"
	"github.com/anycert/anycert/issuer"
	"github.com/anycert/anycert/issuer/limits"
	"github.com/anycert/anycert/store/storetest"
)

const (
	day = 24 * time.Hour
	// IssuerName is what the configuration of a Rig calls its issuer.
	IssuerName = "ca"
	// Zone is where the certificates of the suite have their names.
	Zone = "example.com"
	// RetryAfter is what the CA of a Rig tells with its advice.
	RetryAfter = 6 * time.Hour
	// Lifetime is that of its certificates.
	Lifetime = 90 * day
)

// Rig is a CA behind calimits, and all that an issuer needs to obtain from it.
type Rig struct {
	Limits  *calimits.Limiter
	Options issuer.Options // but for the store and the clock; its one issuer is IssuerName
	// Lose lets the CA's validations fail.
	Lose func(bool)
	// Intercept is acmeserver's.
	Intercept func(acmeserver.Interceptor)
	Orders    func() []acmeserver.Order
	Asked     func() int // how often advice was asked for
	// SetWindow sets the window in which a certificate is to be renewed.
	SetWindow func(t *testing.T, leaf *x509.Certificate, start, end time.Time)
}

// NewRig makes a Rig whose CA has the limits of a table, by a clock that may be ahead
// of the real one.
type NewRig func(t *testing.T, table calimits.Table, now func() time.Time) Rig

// Run checks the laws, each on a rig of its own. lives says that the CA's own clock is
// the one that its rig is given, so that its certificates expire.
func Run(t *testing.T, newRig NewRig, lives bool) {
	t.Helper()
	laws := map[string]func(*testing.T, *world){
		"AdviceIsAskedNoOftenerThanTheCASays":     adviceIsAskedNoOftener,
		"OneInstantIsKept":                        oneInstantIsKept,
		"RenewalsReplaceInTheWindow":              renewalsReplace,
		"WhatWasReplacedIsOrderedWithoutSayingSo": alreadyReplaced,
		"LimitsAreSharedAndKept":                  limitsAreShared,
		"RetryAfterIsObeyed":                      retryAfterIsObeyed,
		"OneOrderForEachCertificate":              oneOrder,
		"KeysSurviveCrashes":                      keysSurviveCrashes,
		"FailedAuthorizationsAreBounded":          failuresAreBounded,
	}
	if lives {
		laws["TheLastOfALimitIsForTheExpired"] = theLastIsForTheExpired
	}
	for name, law := range laws {
		t.Run(name, func(t *testing.T) {
			w := &world{store: &storetest.Memory{}}
			w.store.Now = w.now
			w.Rig = newRig(t, small(), w.now)
			law(t, w)
			for _, refusal := range w.Limits.Refusals() {
				t.Errorf("the CA refused an order for %v: %s", refusal.Names, refusal.Detail)
			}
		})
	}
}

// small is a table that a test can use up, and what an issuer is told of it.
func small() calimits.Table {
	return calimits.Table{
		OrdersPerAccount:      calimits.Limit{Count: 60, Per: 3 * time.Hour},
		CertificatesPerDomain: calimits.Limit{Count: 10, Per: 7 * day},
		CertificatesPerSet:    calimits.Limit{Count: 5, Per: 7 * day},
		FailuresPerName:       calimits.Limit{Count: 5, Per: time.Hour},
	}
}

// Limits are the same in an issuer's configuration.
func Limits() limits.Config {
	return limits.Config{Like: "letsencrypt", Orders: "60 in 3h", Domain: "10 in 7d"}
}

// world is a rig, a store and a clock.
type world struct {
	Rig
	store *storetest.Memory

	mu    sync.Mutex
	ahead time.Duration // of the real clock
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Add(w.ahead)
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ahead += d
}

// start makes an Issuer over the store, as a process does that begins.
func (w *world) start(t *testing.T, change ...func(*issuer.Options)) *issuer.Issuer {
	t.Helper()
	o := w.Options
	o.Store, o.Records, o.Now, o.UserAgent = w.store, w.store, w.now, "anycert/test"
	for _, f := range change {
		f(&o)
	}
	made, err := issuer.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// wanted are certificates with what the store has of them.
func (w *world) wanted(t *testing.T, certificates ...anycert.Certificate) []anycert.Wanted {
	t.Helper()
	var wanted []anycert.Wanted
	for _, c := range certificates {
		entry, err := w.store.Stat(t.Context(), c.Name)
		switch {
		case err == nil:
			wanted = append(wanted, anycert.Wanted{Certificate: c, Entry: &entry})
		case errors.Is(err, anycert.ErrNotFound):
			wanted = append(wanted, anycert.Wanted{Certificate: c})
		default:
			t.Fatal(err)
		}
	}
	return wanted
}

// recall makes an Issuer know what is kept, and ask.
func (w *world) recall(t *testing.T, i *issuer.Issuer, certificates ...anycert.Certificate) {
	t.Helper()
	if err := i.Recall(t.Context(), w.wanted(t, certificates...), true); err != nil {
		t.Fatal(err)
	}
}

// renewal is what a process that begins tells of a certificate.
func (w *world) renewal(t *testing.T, i *issuer.Issuer, c anycert.Certificate) anycert.Renewal {
	t.Helper()
	w.recall(t, i, c)
	return i.Renewal(c, w.wanted(t, c)[0].Entry, w.now())
}

func (w *world) obtain(t *testing.T, i *issuer.Issuer, c anycert.Certificate) anycert.Entry {
	t.Helper()
	entry, err := i.Obtain(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return entry
}

// count tells how many orders the CA has made, and how many of them led to a
// certificate.
func (w *world) count() (orders, issued int) {
	for _, o := range w.Orders() {
		orders++
		if o.Certificate != nil {
			issued++
		}
	}
	return orders, issued
}

// Certificate is one of the suite's, for a name in Zone.
func Certificate(name string) anycert.Certificate {
	return anycert.Certificate{Name: name, Domains: []string{name + "." + Zone}, Issuer: IssuerName, KeyType: anycert.EC256}
}

// failing answers requests of a kind with an error and counts them.
func failing(kind string, status int, problem, retryAfter string, count func()) acmeserver.Interceptor {
	return func(rw http.ResponseWriter, r *http.Request) bool {
		if acmeserver.KindOf(r) != kind {
			return false
		}
		count()
		acmeserver.Fail(rw, status, problem, retryAfter)
		return true
	}
}

// postponed reports whether an order was not tried.
func postponed(err error) bool { return errors.As(err, new(*anycert.PostponedError)) }

// dies obtains with an Issuer that dies at a point, and reports whether it came there:
// everything that is at the point stops for good, and the others find it gone.
func (w *world) dies(t *testing.T, c anycert.Certificate, at issuer.Point) bool {
	t.Helper()
	dead, over := make(chan struct{}), make(chan struct{})
	var once sync.Once
	i := w.start(t, func(o *issuer.Options) {
		o.At = func(point issuer.Point) {
			if point == at {
				once.Do(func() { close(dead) })
				<-over
				runtime.Goexit()
			}
		}
	})
	t.Cleanup(func() { close(over) })
	ended := make(chan error, 1)
	go func() {
		_, err := i.Obtain(t.Context(), c)
		ended <- err
	}()
	select {
	case <-dead:
		return true
	case err := <-ended:
		if err != nil {
			t.Errorf("at %s: %v", at, err)
		}
		return false
	}
}
