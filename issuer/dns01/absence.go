package dns01

import (
	"sync"
	"time"

	"github.com/miekg/dns"
)

// absences is what resolvers were made to remember by our own questions: that there is
// nothing at a name (RFC 2308). A record that is written there is seen later.
type absences struct {
	mu    sync.Mutex
	until map[string]time.Time
}

// maxAbsence is as long as resolvers keep it at most (RFC 2308, section 5).
const maxAbsence = 3 * time.Hour

func (a *absences) note(name string, reply *dns.Msg, now time.Time) {
	if len(reply.Answer) > 0 {
		return
	}
	for _, rr := range reply.Ns {
		soa, ok := rr.(*dns.SOA)
		if !ok {
			continue
		}
		until := now.Add(min(time.Duration(min(soa.Hdr.Ttl, soa.Minttl))*time.Second, maxAbsence))
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.until == nil {
			a.until = map[string]time.Time{}
		}
		if until.After(a.until[dns.CanonicalName(name)]) {
			a.until[dns.CanonicalName(name)] = until
		}
		return
	}
}

// left is how much longer it is remembered that there is nothing at a name.
func (a *absences) left(name string, now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return max(0, a.until[dns.CanonicalName(name)].Sub(now))
}
