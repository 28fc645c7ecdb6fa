// Package calimits stands in front of an ACME server and holds its clients to the
// limits that Let's Encrypt publishes (https://letsencrypt.org/docs/rate-limits/), as
// strictly as the CA does and in its words. Pebble has none.
//
// It shares no code with what it is to check: it counts tokens, where package
// issuer/limits counts time.
package calimits

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/publicsuffix"
)

// Limit is a bucket of Count tokens that fills in Per.
type Limit struct {
	Count int
	Per   time.Duration
}

// Table are the limits. A Limit of zero is none.
type Table struct {
	OrdersPerAccount      Limit
	CertificatesPerDomain Limit
	CertificatesPerSet    Limit
	FailuresPerName       Limit // and account
}

// Published is what Let's Encrypt publishes.
func Published() Table {
	const day = 24 * time.Hour
	return Table{
		OrdersPerAccount:      Limit{300, 3 * time.Hour},
		CertificatesPerDomain: Limit{50, 7 * day},
		CertificatesPerSet:    Limit{5, 7 * day},
		FailuresPerName:       Limit{5, time.Hour},
	}
}

// Refusal is a request that was answered 429.
type Refusal struct {
	Time   time.Time
	Names  []string
	Detail string
}

// Limiter counts what clients ask for. It is safe for concurrent use.
type Limiter struct {
	Table Table
	Now   func() time.Time

	mu       sync.Mutex
	tokens   map[string]*bucket
	issued   map[string]bool  // sets of names
	orders   map[string]order // by the path of finalizing
	failed   map[string]bool  // authorizations, by URL
	refusals []Refusal
	counts   map[string]int
}

// New makes a Limiter. now is time.Now when nil.
func New(table Table, now func() time.Time) *Limiter {
	if now == nil {
		now = time.Now
	}
	return &Limiter{Table: table, Now: now, tokens: map[string]*bucket{}, issued: map[string]bool{},
		orders: map[string]order{}, failed: map[string]bool{}, counts: map[string]int{}}
}

// Refusals are the requests that were answered 429.
func (l *Limiter) Refusals() []Refusal {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.refusals)
}

// Count tells how many requests of a kind of acmeserver's there were, also those that
// were refused.
func (l *Limiter) Count(kind string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts[kind]
}

// bucket holds tokens, of which parts come back all the time.
type bucket struct {
	limit  Limit
	tokens float64
	at     time.Time
}

// bucket is that of a key, filled up to now.
func (l *Limiter) bucket(key string, limit Limit) *bucket {
	now := l.Now()
	b, ok := l.tokens[key]
	if !ok {
		b = &bucket{limit: limit, tokens: float64(limit.Count), at: now}
		l.tokens[key] = b
	}
	if past := now.Sub(b.at); past > 0 {
		b.tokens = min(float64(limit.Count), b.tokens+float64(limit.Count)*past.Seconds()/limit.Per.Seconds())
		b.at = now
	}
	return b
}

// dust is what rounding may take from a token.
const dust = 1e-6

func (b *bucket) empty() bool { return b.tokens < 1-dust }

// after is when there will be a token.
func (b *bucket) after() time.Duration {
	return time.Duration((1 - b.tokens) / float64(b.limit.Count) * float64(b.limit.Per))
}

// spend takes a token, if there is one.
func (b *bucket) spend() {
	if !b.empty() {
		b.tokens--
	}
}

// order is an order that is open.
type order struct {
	account string
	names   []string
	counted bool // its certificate counts for its registered domains
}

// ask is a request for a new order.
type ask struct {
	account string
	names   []string
	advised bool // it replaces a certificate inside the window that the CA advised
}

// check is one limit that an ask must keep to.
type check struct {
	key    string
	limit  Limit
	detail string // with the count
	anchor string // in the page of limits
	spend  bool
}

// checks are those of an ask, in the CA's order.
func (l *Limiter) checks(a ask) (checks []check) {
	if a.advised {
		return nil
	}
	set := strings.Join(a.names, ",")
	if !l.issued[set] {
		checks = append(checks, check{"orders " + a.account, l.Table.OrdersPerAccount,
			"too many new orders (%d) from this account in the last %s", "new-orders-per-account", true})
	}
	for _, name := range a.names {
		checks = append(checks, check{"failures " + a.account + " " + proven(name), l.Table.FailuresPerName,
			"too many failed authorizations (%d) for " + fmt.Sprintf("%q", proven(name)) + " in the last %s", "authorization-failures-per-identifier-per-account", false})
	}
	if !l.issued[set] {
		for _, domain := range registered(a.names) {
			checks = append(checks, check{"domain " + domain, l.Table.CertificatesPerDomain,
				"too many certificates (%d) already issued for " + fmt.Sprintf("%q", domain) + " in the last %s", "new-certificates-per-registered-domain", false})
		}
	}
	checks = append(checks, check{"set " + set, l.Table.CertificatesPerSet,
		"too many certificates (%d) already issued for this exact set of identifiers in the last %s", "new-certificates-per-exact-set-of-identifiers", false})
	return slices.DeleteFunc(checks, func(c check) bool { return c.limit.Count == 0 })
}

// admit counts a request for an order, or refuses it: then it tells the CA's words and
// after what time to come again. undo takes the counting back.
func (l *Limiter) admit(a ask) (refused string, after time.Duration, undo func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	checks := l.checks(a)
	for _, c := range checks {
		b := l.bucket(c.key, c.limit)
		if !b.empty() || b.after() <= after {
			continue
		}
		after = b.after()
		refused = fmt.Sprintf(c.detail, c.limit.Count, c.limit.Per) + ", retry after " +
			l.Now().Add(after).UTC().Format("2006-01-02 15:04:05 MST") + ": see https://letsencrypt.org/docs/rate-limits/#" + c.anchor
	}
	if refused != "" {
		l.refusals = append(l.refusals, Refusal{l.Now(), a.names, refused})
		return refused, after, nil
	}
	var spent []*bucket
	for _, c := range checks {
		if c.spend {
			b := l.bucket(c.key, c.limit)
			b.spend()
			spent = append(spent, b)
		}
	}
	return "", 0, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, b := range spent {
			b.tokens++
		}
	}
}

// opened notes an order that was made.
func (l *Limiter) opened(finalize string, a ask) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.orders[finalize] = order{a.account, a.names, !a.advised && !l.issued[strings.Join(a.names, ",")]}
}

// finalized counts the certificate of an order, once.
func (l *Limiter) finalized(finalize string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o, ok := l.orders[finalize]
	if !ok {
		return
	}
	delete(l.orders, finalize)
	set := strings.Join(o.names, ",")
	l.issued[set] = true
	if limit := l.Table.CertificatesPerSet; limit.Count > 0 {
		l.bucket("set "+set, limit).spend()
	}
	if limit := l.Table.CertificatesPerDomain; limit.Count > 0 && o.counted {
		for _, domain := range registered(o.names) {
			l.bucket("domain "+domain, limit).spend()
		}
	}
}

// Failed counts a validation that failed, once for each authorization.
func (l *Limiter) Failed(authorization, account, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if limit := l.Table.FailuresPerName; !l.failed[authorization] && limit.Count > 0 {
		l.failed[authorization] = true
		l.bucket("failures "+account+" "+proven(name), limit).spend()
	}
}

func proven(name string) string { return strings.TrimPrefix(name, "*.") }

// registered are the registered domains of names.
func registered(names []string) []string {
	var domains []string
	for _, name := range names {
		domain, err := publicsuffix.EffectiveTLDPlusOne(proven(name))
		if err != nil {
			domain = proven(name)
		}
		domains = append(domains, domain)
	}
	slices.Sort(domains)
	return slices.Compact(domains)
}
