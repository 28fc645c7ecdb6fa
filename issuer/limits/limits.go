// Package limits models how much a CA lets one account ask for: buckets of tokens, as
// Let's Encrypt publishes them (https://letsencrypt.org/docs/rate-limits/). It asks
// nobody and has no clock: every function is told the time.
//
// A bucket holds Limit.Count tokens and gets a new one every Limit.Per/Limit.Count. It
// is kept as one moment, that at which it will be full again (the generic cell rate
// algorithm, as in the CA's own code); a bucket that is full is not kept at all.
package limits

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"
)

const day = 24 * time.Hour

// Limit is a number of things in a span of time. The zero value is no limit.
type Limit struct {
	Count int
	Per   time.Duration
}

func (l Limit) none() bool { return l.Count <= 0 || l.Per <= 0 }

// refill is the time that a token takes to come back.
func (l Limit) refill() time.Duration { return l.Per / time.Duration(max(l.Count, 1)) }

// reserve is the share that is kept for what cannot wait: a tenth, and at least one
// of five or more.
func (l Limit) reserve() int {
	if l.Count < 5 {
		return 0
	}
	return max(1, l.Count/10)
}

// String is "50 in 7d", as ParseLimit reads it.
func (l Limit) String() string {
	if l.none() {
		return "none"
	}
	return fmt.Sprintf("%d in %s", l.Count, span(l.Per, "d", "h"))
}

// span is "7d" or "3h", by the units it is given; what is neither as Go writes it.
func span(d time.Duration, days, hours string) string {
	switch {
	case d%day == 0 && d > day:
		return strconv.Itoa(int(d/day)) + days
	case d%time.Hour == 0 && d > time.Hour:
		return strconv.Itoa(int(d/time.Hour)) + hours
	case d == time.Hour:
		return "1" + strings.TrimSuffix(hours, "s")
	}
	return d.String()
}

// ParseLimit reads "50 in 7d", "300 in 3h", or "none".
func ParseLimit(text string) (Limit, error) {
	if text == "none" {
		return Limit{}, nil
	}
	wrong := fmt.Errorf("%q is no limit: write a number and a time, such as 50 in 7d or 300 in 3h, or none", text)
	number, per, ok := strings.Cut(text, " in ")
	count, err := strconv.Atoi(strings.TrimSpace(number))
	if !ok || err != nil || count < 1 {
		return Limit{}, wrong
	}
	per = strings.TrimSpace(per)
	length, err := time.ParseDuration(per)
	if days, isDays := strings.CutSuffix(per, "d"); isDays {
		var n int
		n, err = strconv.Atoi(days)
		length = time.Duration(min(n, 1000)) * day
	}
	if err != nil || length < time.Second || length > 366*day {
		return Limit{}, wrong
	}
	return Limit{Count: count, Per: length}, nil
}

// Table are the limits of one CA for one account.
type Table struct {
	Orders   Limit // new orders
	Domain   Limit // certificates for a registered domain
	Set      Limit // certificates for exactly the same names
	Failures Limit // validations of a name that failed
	// Renewals says that the CA counts renewals as Let's Encrypt does: see Order.
	Renewals bool
}

// None reports whether nothing is limited.
func (t Table) None() bool {
	return t.Orders.none() && t.Domain.none() && t.Set.none() && t.Failures.none()
}

// LetsEncrypt is what Let's Encrypt publishes
// (https://letsencrypt.org/docs/rate-limits/). Its limit of 1,152 failures in a row is
// never met by who waits a day after the third.
func LetsEncrypt() Table {
	return Table{
		Orders:   Limit{300, 3 * time.Hour},
		Domain:   Limit{50, 7 * day},
		Set:      Limit{5, 7 * day},
		Failures: Limit{5, time.Hour},
		Renewals: true,
	}
}

// Staging is the same for its staging directory
// (https://letsencrypt.org/docs/staging-environment/#rate-limits).
func Staging() Table {
	return Table{
		Orders:   Limit{1500, 3 * time.Hour},
		Domain:   Limit{30000, 7 * day},
		Set:      Limit{30000, 7 * day},
		Failures: Limit{200, time.Hour},
		Renewals: true,
	}
}

// Of is the table of a directory by its URL; without limits for a CA that is not known.
func Of(directory string) Table {
	switch directory {
	case "https://acme-v02.api.letsencrypt.org/directory":
		return LetsEncrypt()
	case "https://acme-staging-v02.api.letsencrypt.org/directory":
		return Staging()
	}
	return Table{}
}

// Registered is the registered domain of a name by the public suffix list
// (https://publicsuffix.org), both its parts, as Let's Encrypt counts; the name itself
// where it is a public suffix.
func Registered(name string) string {
	name = strings.ToLower(strings.TrimPrefix(strings.TrimSuffix(name, "."), "*."))
	if domain, err := publicsuffix.EffectiveTLDPlusOne(name); err == nil {
		return domain
	}
	return name
}
