package dns01

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// permits tells what CAA records say of a certificate for domain: those of the name
// closest to it that has some (RFC 8659, section 3), a CNAME at a name followed.
func (p *preflight) permits(ctx context.Context, domain string) (findings []Finding) {
	add := func(blocks bool, format string, args ...any) {
		findings = append(findings, Finding{Domain: domain, Blocks: blocks, Text: fmt.Sprintf(format, args...)})
	}
	base, wildcard := strings.CutPrefix(domain, "*.")
	near := p.near(base)
	for name := dns.CanonicalName(base); name != "."; name = parent(name) {
		answer := p.caa.get(strings.Join(near.servers, " ")+" "+name, func() caaAnswer { return near.caa(ctx, name) })
		records := answer.records
		if answer.err != nil {
			add(false, "whether CAA records permit the CA is not known: %v", answer.err)
			return findings
		}
		if len(records) == 0 {
			continue
		}
		if len(p.about.CAs) == 0 {
			add(false, "there are CAA records, and the CA does not tell what they may call it: see that %s permits it", said(records[0]))
			return findings
		}
		refusal := p.judgeCAA(records, wildcard)
		switch {
		case refusal == nil:
		case !refusal.unsure && p.permittedOutside(ctx, near, records[0].Hdr.Name, wildcard):
			add(false, "%s; its name servers show other CAA records than the resolvers do, which permit it", refusal.text)
		default:
			add(!refusal.unsure, "%s", refusal.text)
		}
		return findings
	}
	return nil
}

// permittedOutside reports whether a name server of the zone shows records at name that
// permit: those that the resolvers show are none of the CA's business then.
func (p *preflight) permittedOutside(ctx context.Context, near *resolver, name string, wildcard bool) bool {
	if !p.isAuthoritative(strings.TrimSuffix(name, ".")) {
		return false
	}
	view := p.view(ctx, near, name)
	if view == nil || view.newest() == nil {
		return false
	}
	reply, err := direct(ctx, view.newest().address, name, dns.TypeCAA)
	if err != nil || !reply.Authoritative {
		return false
	}
	shown := caaOf(reply)
	return len(shown) == 0 || p.judgeCAA(shown, wildcard) == nil
}

type caaAnswer struct {
	records []*dns.CAA
	err     error
}

// caa looks up the records of one name.
func (r *resolver) caa(ctx context.Context, name string) caaAnswer {
	reply, err := r.ask(ctx, name, dns.TypeCAA)
	if err != nil {
		return caaAnswer{err: err}
	}
	return caaAnswer{records: caaOf(reply)}
}

func caaOf(reply *dns.Msg) (records []*dns.CAA) {
	for _, rr := range reply.Answer {
		if caa, ok := rr.(*dns.CAA); ok {
			records = append(records, caa)
		}
	}
	return records
}

// said is a record in the words of a zone file.
func said(caa *dns.CAA) string {
	return fmt.Sprintf("%s IN CAA %d %s %q", caa.Hdr.Name, caa.Flag, caa.Tag, caa.Value)
}

// caaRefusal is why records do not permit a certificate.
type caaRefusal struct {
	text   string
	unsure bool
}

// knownTags are those that CAs understand: RFC 8659, RFC 9495, and the registry at
// https://www.iana.org/assignments/pkix-parameters.
var knownTags = []string{"issue", "issuewild", "iodef", "contactemail", "contactphone", "issuemail", "issuevmc"}

const critical = 1 << 7 // of a record's flags

// judgeCAA reads one set of records; nil says that they permit.
func (p *preflight) judgeCAA(records []*dns.CAA, wildcard bool) *caaRefusal {
	tags := map[string][]*dns.CAA{}
	for _, caa := range records {
		tag := strings.ToLower(caa.Tag)
		if caa.Flag&critical != 0 && !slices.Contains(knownTags, tag) {
			return &caaRefusal{text: fmt.Sprintf("%s is critical, and no CA knows the tag %s, so none may issue: remove the record, or write it with the flag 0", said(caa), tag)}
		}
		tags[tag] = append(tags[tag], caa)
	}
	tag := "issue"
	if wildcard && len(tags["issuewild"]) > 0 {
		tag = "issuewild"
	}
	deciding := tags[tag]
	if len(deciding) == 0 {
		return nil
	}
	best := &caaRefusal{text: fmt.Sprintf("%s does not permit this CA: add %s IN CAA 0 %s %q", said(deciding[0]), deciding[0].Hdr.Name, tag, p.about.CAs[0])}
	for _, caa := range deciding {
		permission, ok := parsePermission(caa.Value)
		if !ok || !slices.ContainsFunc(p.about.CAs, func(name string) bool { return strings.EqualFold(name, permission.ca) }) {
			continue
		}
		refusal := p.judgeParameters(caa, permission)
		if refusal == nil {
			return nil
		}
		if !best.unsure {
			best = refusal
		}
	}
	return best
}

// judgeParameters holds a record that names the CA to RFC 8657.
func (p *preflight) judgeParameters(caa *dns.CAA, permission permission) *caaRefusal {
	if methods, limited := permission.parameters["validationmethods"]; limited {
		if len(methods) != 1 || !slices.Contains(strings.Split(strings.ToLower(methods[0]), ","), "dns-01") {
			return &caaRefusal{text: fmt.Sprintf("%s does not permit validation by dns-01, the only way that is used here: add dns-01 to its validationmethods", said(caa))}
		}
	}
	accounts, limited := permission.parameters["accounturi"]
	switch {
	case !limited, len(accounts) == 1 && accounts[0] == p.about.Account:
		return nil
	case len(accounts) == 1 && p.about.Account == "":
		return &caaRefusal{unsure: true, text: fmt.Sprintf("%s permits one account alone, and this issuer has none yet: once it has, write its URL as accounturi", said(caa))}
	}
	// Boulder takes the URL that an account had in an earlier version of its API as well.
	same := len(accounts) == 1 && path.Base(accounts[0]) == path.Base(p.about.Account)
	return &caaRefusal{unsure: same, text: fmt.Sprintf("%s permits another account than this issuer's: write accounturi=%s", said(caa), p.about.Account)}
}

// permission is the value of an issue or issuewild record.
type permission struct {
	ca         string // empty: nobody
	parameters map[string][]string
}

// parsePermission reads RFC 8659, section 4.2. What does not parse permits nobody.
func parsePermission(value string) (permission, bool) {
	parts := strings.Split(value, ";")
	parsed := permission{ca: strings.Trim(parts[0], " \t"), parameters: map[string][]string{}}
	for i, part := range parts[1:] {
		part = strings.Trim(part, " \t")
		if part == "" && i == len(parts)-2 { // a ';' may end the value
			continue
		}
		tag, content, ok := strings.Cut(part, "=")
		tag, content = strings.Trim(tag, " \t"), strings.Trim(content, " \t")
		if !ok || tag == "" {
			return permission{}, false
		}
		parsed.parameters[strings.ToLower(tag)] = append(parsed.parameters[strings.ToLower(tag)], content)
	}
	return parsed, true
}
