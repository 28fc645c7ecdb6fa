package limits

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Wait says why an order cannot begin, and until when.
type Wait struct {
	Until time.Time
	Text  string // "the CA's limit of 50 certificates for example.com in 7 days", or what the CA said
	Todo  string // what helps, where something does
	Asked bool   // by the CA, with Retry-After; else it is of the table
}

// String names the limit and the moment.
func (w Wait) String() string {
	until := w.Until.Add(time.Second - 1).Truncate(time.Second).Format(time.RFC3339)
	if w.Asked {
		return fmt.Sprintf("the CA asked to wait until %s: %s", until, w.Text)
	}
	return fmt.Sprintf("%s lets it begin at %s", w.Text, until)
}

// keep is the share of a bucket that an order must leave there.
func (n need) keep(o Order) int {
	if o.Urgent {
		return 0
	}
	return n.limit.reserve()
}

// wait names a limit for people.
func (n need) wait() Wait {
	in := span(n.limit.Per, " days", " hours")
	kind, what, _ := strings.Cut(n.key, "/")
	switch kind + "/" {
	case keyDomain:
		return Wait{Text: fmt.Sprintf("the CA's limit of %d certificates for %s in %s", n.limit.Count, what, in),
			Todo: "put several names into one certificate, or ask the CA for a higher limit and write it as domain in the issuer's limits"}
	case keySet:
		return Wait{Text: fmt.Sprintf("the CA's limit of %d certificates for exactly these names in %s", n.limit.Count, in),
			Todo: "another name in the certificate makes it another set; look for what asks for the same one again and again"}
	case keyFailures:
		return Wait{Text: fmt.Sprintf("the CA's limit of %d failed validations of %s in %s", n.limit.Count, what, in),
			Todo: "mend what let them fail: `anycert check --connect` looks for it"}
	}
	return Wait{Text: fmt.Sprintf("the CA's limit of %d new orders in %s", n.limit.Count, in),
		Todo: "ask the CA for a higher limit and write it as orders in the issuer's limits"}
}

func (b block) wait() Wait { return Wait{Text: b.Text, Asked: true} }

// The words of Let's Encrypt for what it refuses
// (https://github.com/letsencrypt/boulder, ratelimits/limiter.go).
var (
	saysSet      = regexp.MustCompile(`already issued for this exact set`)
	saysDomain   = regexp.MustCompile(`certificates \(\d+\) already issued for \\?"([^"\\]+)`)
	saysFailures = regexp.MustCompile(`failed authorizations \(\d+\) for \\?"([^"\\]+)`)
	saysOrders   = regexp.MustCompile(`too many new orders`)
)

// Refused is the key of the block that a refusal of an order asks for, by what the CA
// said: of the limit that it names, else of the certificate alone.
func (t Table) Refused(o Order, said string) string {
	switch {
	case saysSet.MatchString(said):
		return setKey(o.Names)
	case saysOrders.MatchString(said):
		return keyOrders
	}
	for kind, pattern := range map[string]*regexp.Regexp{keyDomain: saysDomain, keyFailures: saysFailures} {
		if found := pattern.FindStringSubmatch(said); found != nil {
			if key := kind + base(found[1]); t.concerns(o, key) {
				return key
			}
		}
	}
	return certificateKey(o.Certificate)
}

// concerns reports whether a block of key concerns the order: what the CA names may be
// something else, and would block others.
func (t Table) concerns(o Order, key string) bool {
	for _, own := range t.blocking(o) {
		if own == key {
			return true
		}
	}
	return false
}
