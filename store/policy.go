package store

import (
	"fmt"
	"slices"
	"strings"

	"github.com/anycert/anycert"
)

// Need is what somebody does with a store, as far as it decides about rights.
type Need struct {
	Role         anycert.Role
	Certificates []anycert.Certificate
	Orders       bool     // an issuer that orders at a CA is declared
	Ordered      []string // names of the certificates that are ordered there
	Accounts     []string // names of the issuers that order them
	Alarms       string   // owner of the configuration; empty: nobody is told of alarms
	Fields       []Field  // secrets that this role reads for others: tokens of sinks, of DNS
}

// Field is a secret that the configuration refers to.
type Field struct {
	Text string // MOUNT/PATH#FIELD
	For  string // what it is for, as people find it: "issuers[0].dns.settings.CF_DNS_API_TOKEN"
}

// Right is what a policy has to allow on one path of Vault's API.
type Right struct {
	Path         string
	Capabilities []string // in the alphabet's order
	Why          string   // for people: what fails without it
}

// Policy lists the rights that a token needs for what role it is used, and no more:
// each path by its name, nothing by a pattern. It is all that the token needs, the
// policy `default` not included.
func (c Config) Policy(need Need) ([]Right, error) {
	p := policy{Store: Store{mount: or(c.Mount, "secret"), prefix: or(c.Prefix, "anycert")}}
	switch need.Role {
	case anycert.Hub:
		p.certificates(need)
		p.listing("entries that nobody declared are shown by audit")
		p.records(need)
		p.alarms(need)
	case anycert.Follower:
		p.certificates(need)
		p.alarms(need)
	case anycert.Auditor:
		for _, certificate := range need.Certificates {
			p.allow(p.path(certsKind, certificate.Name).metadata(), certificate.Name+": compared with what is served, and no key in it", "read")
		}
		p.outlooks(need)
		p.listing("entries that nobody declared are shown by audit")
	case anycert.Laptop:
		p.certificates(need)
		p.listing("pull without names and without a configuration takes all that it may read")
	}
	if err := p.fields(need.Fields); err != nil {
		return nil, err
	}
	p.itself(need.Role, c.Auth.method())
	return p.rights, nil
}

// policy collects rights. Its Store makes paths, and asks nobody.
type policy struct {
	Store
	rights []Right
}

// allow adds capabilities to those of a path.
func (p *policy) allow(path, why string, capabilities ...string) {
	at := slices.IndexFunc(p.rights, func(r Right) bool { return r.Path == path })
	if at < 0 {
		at = len(p.rights)
		p.rights = append(p.rights, Right{Path: path, Why: why})
	} else if !strings.Contains(p.rights[at].Why, why) {
		p.rights[at].Why += "; " + why
	}
	all := append(p.rights[at].Capabilities, capabilities...)
	slices.Sort(all)
	p.rights[at].Capabilities = slices.Compact(all)
}

func (p *policy) certificates(need Need) {
	for _, c := range need.Certificates {
		metadata, data := p.path(certsKind, c.Name).metadata(), p.path(certsKind, c.Name).data()
		switch {
		case need.Role != anycert.Hub:
			p.allow(metadata, c.Name+": which version there is", "read")
			p.allow(data, c.Name+": read when it has changed", "read")
		case c.Issuer == "":
			p.allow(metadata, c.Name+": read at each pass; patched once for each version that somebody wrote by hand", "patch", "read")
			p.allow(data, c.Name+": read to push it; somebody else writes it", "read")
		default:
			p.allow(metadata, c.Name+": read at each pass; patched beside each new version", "patch", "read")
			p.allow(data, c.Name+": created once, updated at each renewal, read to push it", "create", "read", "update")
		}
	}
}

// listing allows to list certificates. Vault ends the path of a listing with a slash.
func (p *policy) listing(why string) {
	p.allow(p.path(certsKind, "").metadata(), why, "list")
}

// outlooks allows to read what is kept about renewals, so that status tells when the next
// one is, why, and how the last one failed. There is no key in it.
func (p *policy) outlooks(need Need) {
	for _, name := range need.Ordered {
		p.allow(p.path(anycert.KindRenewal, name).data(), name+": when it is renewed next, and what failed last; no key in it", "read")
		p.allow(p.path(anycert.KindRequest, name).data(), name+": what `anycert renew` asks for; no key in it", "read")
	}
	if need.Orders {
		p.allow(p.path(anycert.KindRequest, "").metadata(), "what people asked for", "list")
	}
	for _, name := range need.Accounts {
		p.allow(p.path(anycert.KindBudget, name).data(), "what is left of the CA's limits for issuer "+name+"; no key in it", "read")
	}
}

// records allows what an issuer keeps beside the certificates.
func (p *policy) records(need Need) {
	for _, name := range need.Ordered {
		order, request := p.path(anycert.KindOrder, name), p.path(anycert.KindRequest, name)
		p.allow(order.data(), "the journal of an order of "+name+", with its key", "create", "read", "update")
		p.allow(order.metadata(), "destroyed in all versions when the order is done", "delete")
		p.allow(p.path(anycert.KindRenewal, name).data(), name+": what the CA advised and what failed last", "create", "read", "update")
		p.allow(request.data(), name+": what `anycert renew` asks for, until it is done", "create", "read", "update")
		p.allow(request.metadata(), "deleted when it is done", "delete")
		p.allow(p.path(certsKind, name).destroy(), name+": versions with a key that is known to others are destroyed", "update")
	}
	if need.Orders {
		p.allow(p.path(anycert.KindOrder, "").metadata(), "orders that were begun and not ended are found after a crash", "list")
		p.allow(p.path(anycert.KindRequest, "").metadata(), "what people asked for is found by the daemon", "list")
	}
	for _, name := range need.Accounts {
		p.allow(p.path(anycert.KindAccount, name).data(), "the ACME account of issuer "+name, "create", "read", "update")
		p.allow(p.path(anycert.KindBudget, name).data(), "what is left of the CA's limits for issuer "+name, "create", "read", "update")
	}
}

// alarms allows a daemon to keep what it told.
func (p *policy) alarms(need Need) {
	if need.Alarms != "" {
		p.allow(p.path(anycert.KindAlarm, need.Alarms).data(), "what was told to whom, so that the end of an alarm is told after a restart as well", "create", "read", "update")
	}
}

func (p *policy) fields(fields []Field) error {
	for _, field := range fields {
		path, name, err := p.parseField(field.Text)
		if err != nil {
			return fmt.Errorf("%s: %w", field.For, err)
		}
		p.allow(path.data(), name+" for "+field.For, "read")
	}
	return nil
}

// itself allows what a token does with itself. It differs with the way to log in: a
// token that was given is looked at and renewed, for there is no other; one of a login
// is replaced by another login, and given back in the end; and the secret id of an
// AppRole may be good for one login.
func (p *policy) itself(role anycert.Role, method string) {
	daemon := role.Pushes()
	if daemon && method == "token" {
		p.allow(lookupSelf.path, "how long the token lives is asked once", "read")
	}
	if daemon && (method == "token" || method == "approle") {
		p.allow(renewSelf, "it is renewed at two thirds of its life", "update")
	}
	if role != anycert.Laptop && method != "token" {
		p.allow(revokeSelf, "what a login gave is given back at the end", "update")
	}
	if daemon {
		p.allow(capabilitiesSelf, "check --connect asks what the token may do", "update")
	}
}

// HCL writes rights as a policy of Vault: `vault policy write NAME -`.
func HCL(rights []Right) string {
	var out strings.Builder
	for i, right := range rights {
		if i > 0 {
			out.WriteByte('\n')
		}
		fmt.Fprintf(&out, "# %s\npath %q {\n  capabilities = [\"%s\"]\n}\n", right.Why, right.Path, strings.Join(right.Capabilities, `", "`))
	}
	return out.String()
}

// Place is where the certificates are kept, for people; the name of one follows.
func (c Config) Place() string {
	return "Vault at " + or(c.Mount, "secret") + "/" + or(c.Prefix, "anycert") + "/" + certsKind + "/"
}
