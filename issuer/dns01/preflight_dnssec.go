package dns01

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// recheck is how long resolvers remember a failure of the moment: BIND for a second,
// and RFC 9520 asks for at least that.
const recheck = 1500 * time.Millisecond

// bogus reports whether validating resolvers refuse a name for its DNSSEC signatures:
// they answer SERVFAIL, they answer when told not to check (RFC 4035, section 3.2.2),
// and answer SERVFAIL again afterwards.
func (r *resolver) bogus(ctx context.Context, name string) bool {
	unchecked := newQuestion(name, dns.TypeSOA)
	unchecked.CheckingDisabled = true
	if _, err := r.put(ctx, unchecked); err != nil || sleep(ctx, recheck) != nil {
		return false
	}
	return r.fails(ctx, name)
}

func (r *resolver) fails(ctx context.Context, name string) bool {
	_, err := r.ask(ctx, name, dns.TypeSOA)
	refused := new(refusal)
	return errors.As(err, &refused) && refused.rcode == dns.RcodeServerFailure
}

// bogusZone is the highest zone above name whose signatures do not hold.
func (p *preflight) bogusZone(ctx context.Context, r *resolver, name string) string {
	return p.failed.get(strings.Join(r.servers, " ")+" "+name, func() string {
		zone := name
		for above := parent(zone); above != "." && r.fails(ctx, above); above = parent(above) {
			zone = above
		}
		return zone
	})
}
