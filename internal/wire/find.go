package wire

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
)

// place is what the address of an endpoint comes to.
type place struct {
	at   []netip.AddrPort // sorted, IPv4 first
	errs []error          // of looking up; there may be addresses beside it
}

// find looks up A and AAAA, each by itself: that one cannot be looked up must not hide
// behind the other.
func (w *Witness) find(ctx context.Context, address string) place {
	host, text, err := net.SplitHostPort(address)
	port, portErr := strconv.ParseUint(text, 10, 16)
	if err != nil || portErr != nil {
		return place{errs: []error{fmt.Errorf("%q is no address: write HOST:PORT", address)}}
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return place{at: []netip.AddrPort{netip.AddrPortFrom(ip.Unmap(), uint16(port))}}
	}
	var (
		kinds  = [...]struct{ network, record string }{{"ip4", "A"}, {"ip6", "AAAA"}}
		found  [len(kinds)][]netip.Addr
		failed [len(kinds)]error
		wait   sync.WaitGroup
	)
	for i, kind := range kinds {
		wait.Go(func() { found[i], failed[i] = w.options.Resolve(ctx, kind.network, host) })
	}
	wait.Wait()
	var p place
	for i, kind := range kinds {
		for _, ip := range found[i] {
			p.at = append(p.at, netip.AddrPortFrom(ip.Unmap(), uint16(port)))
		}
		if failed[i] != nil && !absent(failed[i]) {
			p.errs = append(p.errs, fmt.Errorf("%s could not be looked up (%s): %w", host, kind.record, lookup(ctx, failed[i])))
		}
	}
	slices.SortFunc(p.at, func(a, b netip.AddrPort) int { return a.Compare(b) })
	p.at = slices.Compact(p.at)
	if len(p.at)+len(p.errs) == 0 {
		p.errs = []error{fmt.Errorf("%s has no address in the DNS", host)}
	}
	return p
}

// absent reports whether the DNS said that there is no such record.
func absent(err error) bool {
	var dns *net.DNSError
	var none *net.AddrError // the host has addresses of the other kind alone
	return errors.As(err, &dns) && dns.IsNotFound || errors.As(err, &none)
}

func lookup(ctx context.Context, err error) error {
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return errors.New(cmp.Or(dns.Err, "no answer"))
	}
	if ctx.Err() != nil {
		return errors.New("no answer within the time limit")
	}
	return err
}
