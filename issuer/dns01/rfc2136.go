package dns01

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	legodns01 "github.com/go-acme/lego/v4/challenge/dns01"
	legorfc2136 "github.com/go-acme/lego/v4/providers/dns/rfc2136"
	"github.com/miekg/dns"
)

// rfc2136Spec is lego's provider of that name, but for the writing itself: lego
// removes all values at a name before it adds one, so that a wildcard would take
// away the record of its parent, also for another process. Keys of Kerberos
// (GSS-TSIG) and of tsig-keygen's files are left to lego, one value at a time.
func rfc2136Spec() spec {
	const p = "DNSUPDATE_"
	settings := append(paced(p),
		plain(p+"NAMESERVER"), plain(p+"TSIG_KEY"), plain(p+"TSIG_ALGORITHM"), secret(p+"TSIG_SECRET"), plain(p+"TSIG_FILE"),
		plain(p+"TSIG_GSS_REALM"), plain(p+"TSIG_GSS_USERNAME"), secret(p+"TSIG_GSS_PASSWORD"), plain(p+"TSIG_GSS_KEYTAB_FILE"),
		plain(p+"ZONES"), plain(p+"DNS_TIMEOUT"), plain(p+"SEQUENCE_INTERVAL"))
	for _, known := range settings { // as lego called them before
		settings = append(settings, also("RFC2136_"+strings.TrimPrefix(known.name, p), known.name))
	}
	return spec{
		settings: settings,
		needs:    [][]string{{p + "NAMESERVER"}},
		build: func(v *values) (backend, error) {
			algorithm := dns.CanonicalName(v.textOr(p+"TSIG_ALGORITHM", dns.HmacSHA1))
			if algorithm == "gss-tsig." || v.text(p+"TSIG_FILE") != "" {
				return legoRFC2136(v, p)
			}
			return newRFC2136(v, p, algorithm)
		},
	}
}

func legoRFC2136(v *values, p string) (backend, error) {
	return v.lego(legorfc2136.NewDNSProviderConfig(&legorfc2136.Config{
		Nameserver:         v.text(p + "NAMESERVER"),
		DNSTimeout:         v.duration(p+"DNS_TIMEOUT", 10*time.Second),
		Zones:              v.list(p + "ZONES"),
		TSIGFile:           v.text(p + "TSIG_FILE"),
		TSIGAlgorithm:      v.text(p + "TSIG_ALGORITHM"),
		TSIGGSSRealm:       v.text(p + "TSIG_GSS_REALM"),
		TSIGGSSUsername:    v.text(p + "TSIG_GSS_USERNAME"),
		TSIGGSSPassword:    v.text(p + "TSIG_GSS_PASSWORD"),
		TSIGGSSKeytabFile:  v.text(p + "TSIG_GSS_KEYTAB_FILE"),
		PropagationTimeout: v.duration(p+"PROPAGATION_TIMEOUT", legodns01.DefaultPropagationTimeout),
		PollingInterval:    v.duration(p+"POLLING_INTERVAL", legodns01.DefaultPollingInterval),
		TTL:                v.number(p+"TTL", legodns01.DefaultTTL),
		SequenceInterval:   v.duration(p+"SEQUENCE_INTERVAL", 0),
	}))
}

// rfc2136 sends dynamic updates (RFC 2136), signed with TSIG (RFC 8945) if there
// is a key. It adds and removes single values.
type rfc2136 struct {
	server            string
	zones             []string
	key, algorithm    string
	secret            string
	ttl               uint32
	timeout, interval time.Duration
	perExchange       time.Duration
	resolvers         *resolver // that tell the zone of a name; nil: the server does
}

func newRFC2136(v *values, p, algorithm string) (backend, error) {
	server, err := withPort(v.text(p + "NAMESERVER"))
	if err != nil {
		return nil, err
	}
	b := &rfc2136{
		server:      server,
		zones:       v.list(p + "ZONES"),
		key:         v.text(p + "TSIG_KEY"),
		algorithm:   algorithm,
		secret:      v.text(p + "TSIG_SECRET"),
		ttl:         uint32(v.number(p+"TTL", legodns01.DefaultTTL)),
		timeout:     v.duration(p+"PROPAGATION_TIMEOUT", legodns01.DefaultPropagationTimeout),
		interval:    v.duration(p+"POLLING_INTERVAL", legodns01.DefaultPollingInterval),
		perExchange: v.duration(p+"DNS_TIMEOUT", 10*time.Second),
	}
	if !v.propagation.authoritative() && v.propagation != Unchecked {
		b.resolvers = v.resolvers
	}
	switch algorithm {
	case dns.HmacSHA1, dns.HmacSHA224, dns.HmacSHA256, dns.HmacSHA384, dns.HmacSHA512:
	default:
		return nil, fmt.Errorf("the TSIG algorithm %q is not known: use hmac-sha256", strings.TrimSuffix(algorithm, "."))
	}
	if (b.key == "") != (b.secret == "") {
		return nil, errors.New("DNSUPDATE_TSIG_KEY and DNSUPDATE_TSIG_SECRET belong together: give both, or none for a server that takes unsigned updates")
	}
	return b, nil
}

func (b *rfc2136) pace() (timeout, interval time.Duration) { return b.timeout, b.interval }
func (b *rfc2136) sequential() (time.Duration, bool)       { return 0, false }

func (b *rfc2136) present(ctx context.Context, r record) error {
	return b.update(ctx, r, (*dns.Msg).Insert)
}

func (b *rfc2136) cleanUp(ctx context.Context, r record) error {
	return b.update(ctx, r, (*dns.Msg).Remove)
}

func (b *rfc2136) update(ctx context.Context, r record, change func(*dns.Msg, []dns.RR)) error {
	zone, err := b.zone(ctx, r.name)
	if err != nil {
		return err
	}
	message := new(dns.Msg).SetUpdate(zone)
	change(message, []dns.RR{&dns.TXT{
		Hdr: dns.RR_Header{Name: r.name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: b.ttl},
		Txt: []string{r.value()},
	}})
	client := &dns.Client{Net: "tcp"} // an update over UDP can be lost, or carried out twice
	if b.key != "" {
		key := dns.CanonicalName(b.key)
		message.SetTsig(key, b.algorithm, 300, time.Now().Unix())
		client.TsigSecret = map[string]string{key: b.secret}
	}
	ctx, cancel := context.WithTimeout(ctx, b.perExchange)
	defer cancel()
	reply, _, err := client.ExchangeContext(ctx, message, b.server)
	switch {
	case reply != nil && reply.Rcode != dns.RcodeSuccess: // also unsigned: a server that does not know the key cannot sign
		hint, denied := hints[reply.Rcode]
		err := fmt.Errorf("the server %s answers %s to the update of zone %s%s", b.server, dns.RcodeToString[reply.Rcode], strings.TrimSuffix(zone, "."), hint)
		if denied {
			return denial{err}
		}
		return err
	case err != nil:
		return fmt.Errorf("the update of zone %s at %s failed: %w", zone, b.server, err)
	}
	return nil
}

// hints are what to do about answers that no repetition changes.
var hints = map[int]string{
	dns.RcodeRefused: ": allow this key to change TXT records there",
	dns.RcodeNotAuth: ": the key's name, algorithm or secret is another one there, it may not change this name, or the zone is not its own",
	dns.RcodeNotZone: ": the name lies outside the zone",
}

// zone asks the server that is updated: it knows its own zones best. It may be
// reached by updates alone, though: where only resolvers are to be asked, they are.
func (b *rfc2136) zone(ctx context.Context, name string) (string, error) {
	best := ""
	for _, zone := range b.zones {
		if zone := dns.CanonicalName(zone); dns.IsSubDomain(zone, name) && len(zone) > len(best) {
			best = zone
		}
	}
	switch {
	case best != "":
		return best, nil
	case len(b.zones) > 0:
		return "", fmt.Errorf("%s lies in none of the zones of DNSUPDATE_ZONES", name)
	}
	asked, todo := b.resolvers, ": let the resolvers show the zone, name it in DNSUPDATE_ZONES, or correct the domain"
	if asked == nil {
		asked, todo = &resolver{servers: []string{b.server}}, ": let it serve the zone, and answer queries about it from here, or name the zone in DNSUPDATE_ZONES"
	}
	zone, err := asked.zone(ctx, name)
	if refused := new(refusal); errors.As(err, new(noZoneError)) || errors.As(err, &refused) && refused.rcode == dns.RcodeRefused {
		return "", denial{noZoneError{fmt.Errorf("%w%s", err, todo)}} // no repetition changes it
	}
	return zone, err
}
