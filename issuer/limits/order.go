package limits

import (
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"
)

// Order is an order that is to be made.
type Order struct {
	Certificate string   // whose: one order of each is under way
	Names       []string // wildcards as "*.example.com"
	Exempt      Exemption
	Urgent      bool // it may take the share that is kept for what cannot wait
}

// Exemption says what of an order the CA does not count, if its Table has Renewals
// (https://letsencrypt.org/docs/rate-limits/#limit-exemptions-for-renewals).
type Exemption int

// The exemptions.
const (
	// Counted is an order for names that the CA has not certified together before.
	Counted Exemption = iota
	// Renewed is one for exactly the names of an earlier certificate. It counts for
	// that set of names alone.
	Renewed
	// Advised is one that replaces a certificate inside the window that the CA advised
	// (RFC 9773). It needs nothing; the CA counts its certificate for the set of names.
	Advised
)

// The keys of buckets.
const (
	keyOrders   = "orders"
	keyDomain   = "domain/"
	keySet      = "set/"
	keyFailures = "failures/"
	// The keys of blocks are those, and two that no bucket has.
	keyEverything  = "everything"
	keyCertificate = "certificate/"
)

// Everything is the key of a block of all orders.
const Everything = keyEverything

func domainKey(domain string) string    { return keyDomain + domain }
func setKey(names []string) string      { return keySet + hash(names) }
func failuresKey(name string) string    { return keyFailures + base(name) }
func certificateKey(name string) string { return keyCertificate + name }

// base is the name whose validation proves name: a wildcard is proven by what is below
// its star.
func base(name string) string { return strings.TrimPrefix(strings.ToLower(name), "*.") }

// hash is a short name for a set of names. Two that share one would count together,
// which wastes tokens and nothing else.
func hash(names []string) string {
	sorted := distinct(names, strings.ToLower)
	sum := sha256.Sum256([]byte(strings.Join(sorted, " ")))
	return base64.RawURLEncoding.EncodeToString(sum[:9])
}

func distinct(names []string, f func(string) string) []string {
	made := make([]string, len(names))
	for i, name := range names {
		made[i] = f(name)
	}
	slices.Sort(made)
	return slices.Compact(made)
}

// need is a token that an order needs to begin.
type need struct {
	key   string
	limit Limit
}

// limit is that of a bucket, by its key.
func (t Table) limit(key string) Limit {
	switch kindOf(key) {
	case keyDomain:
		return t.Domain
	case keySet:
		return t.Set
	case keyFailures:
		return t.Failures
	}
	return t.Orders
}

// kindOf is which of the four limits a bucket is about.
func kindOf(key string) string {
	kind, _, more := strings.Cut(key, "/")
	if more {
		kind += "/"
	}
	return kind
}

// refills are the milliseconds for a token, by kind of bucket.
func (t Table) refills() map[string]int64 {
	refills := map[string]int64{}
	for _, kind := range []string{keyOrders, keyDomain, keySet, keyFailures} {
		if limit := t.limit(kind); !limit.none() {
			refills[kind] = limit.refill().Milliseconds()
		}
	}
	return refills
}

// costs are the keys of the buckets that a certificate takes a token from.
func (t Table) costs(o Order) (keys []string) {
	if t.exempt(o) == Counted && !t.Domain.none() {
		for _, domain := range distinct(o.Names, Registered) {
			keys = append(keys, domainKey(domain))
		}
	}
	if !t.Set.none() {
		keys = append(keys, setKey(o.Names))
	}
	return keys
}

func (t Table) exempt(o Order) Exemption {
	if !t.Renewals {
		return Counted
	}
	return o.Exempt
}

// needs lists what an order needs from the buckets of t to begin.
func (t Table) needs(o Order) (needs []need) {
	exempt := t.exempt(o)
	if exempt == Counted {
		needs = append(needs, need{keyOrders, t.Orders})
		for _, domain := range distinct(o.Names, Registered) {
			needs = append(needs, need{domainKey(domain), t.Domain})
		}
	}
	if exempt != Advised {
		needs = append(needs, need{setKey(o.Names), t.Set})
	}
	for _, name := range distinct(o.Names, base) {
		needs = append(needs, need{failuresKey(name), t.Failures})
	}
	return slices.DeleteFunc(needs, func(n need) bool { return n.limit.none() })
}
