package dns01

import (
	"fmt"
	"slices"
	"strings"

	"github.com/anycert/anycert"
)

// Grants tells the rights at each DNS provider that proving control of domains needs:
// TXT records at the _acme-challenge names, and nothing else as far as the provider can
// say so. Lines of a server's configuration, of a zone and commands stand there as they
// are used; everything else is behind '#'. It asks nobody.
//
// delegate is a zone that the _acme-challenge names lead into by CNAMEs, which are then
// listed, and the rights are those in that zone. Without it, a zone of the configuration
// that holds none of the domains is taken to be there for that.
func (c Config) Grants(domains []string, delegate string) anycert.Grants {
	if len(domains) == 0 {
		return ""
	}
	if delegate == "" {
		delegate = c.delegated(domains)
	}
	var parts []string
	names := challengeNames(domains)
	if delegate != "" {
		parts = append(parts, delegation(names, delegate))
		names = into(names, delegate)
	}
	for _, provider := range c {
		if written := c.writtenBy(provider, names); len(written) > 0 {
			parts = append(parts, grant{provider, written}.text())
		}
	}
	if delegate == "" {
		parts = append(parts, offer(names))
	}
	return anycert.Grants(strings.Join(parts, "\n"))
}

const challengeLabel = "_acme-challenge."

// challengeNames are the names at which the records stand; a wildcard's is that of the
// domain below it (RFC 8555, section 8.4).
func challengeNames(domains []string) (names []string) {
	for _, domain := range domains {
		if name := challengeLabel + strings.TrimPrefix(domain, "*."); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// into are the names that challenge names lead to in a zone of their own.
func into(names []string, zone string) (targets []string) {
	for _, name := range names {
		targets = append(targets, strings.TrimPrefix(name, challengeLabel)+"."+zone)
	}
	return targets
}

func within(name, zone string) bool { return name == zone || strings.HasSuffix(name, "."+zone) }

// delegated is the zone of the configuration that holds none of the domains, if any.
func (c Config) delegated(domains []string) string {
	for _, provider := range c {
		for _, zone := range provider.Zones {
			if !slices.ContainsFunc(domains, func(domain string) bool { return within(domain, zone) }) {
				return zone
			}
		}
	}
	return ""
}

// writtenBy are those of names that an entry is for, as the solver routes them.
func (c Config) writtenBy(entry Provider, names []string) (written []string) {
	for _, name := range names {
		best, zone := -1, ""
		for i, provider := range c {
			if len(provider.Zones) == 0 && best < 0 {
				best = i
			}
			for _, candidate := range provider.Zones {
				if within(name, candidate) && len(candidate) > len(zone) {
					best, zone = i, candidate
				}
			}
		}
		if best >= 0 && c[best].same(entry) {
			written = append(written, name)
		}
	}
	return written
}

// same reports whether two entries are one: an entry is known by its zones.
func (p Provider) same(other Provider) bool {
	return p.Provider == other.Provider && slices.Equal(p.Zones, other.Zones)
}

// delegation lists the CNAMEs into a zone.
func delegation(names []string, zone string) string {
	var out strings.Builder
	fmt.Fprintf(&out, "# In the zones of the domains, once and for good: from then on nobody needs a right there.\n")
	width := 0
	for _, name := range names {
		width = max(width, len(name))
	}
	for i, target := range into(names, zone) {
		fmt.Fprintf(&out, "%-*s IN CNAME %s.\n", width+1, names[i]+".", target)
	}
	return out.String()
}

// offer shows what delegation would bring.
func offer(names []string) string {
	const zone = "acme.example.net"
	return "# Smaller: a zone that holds nothing else, at any provider, takes these records, and CNAMEs lead there.\n" +
		"# The right above is then needed in that zone alone. With --delegate ZONE all of it is printed for yours;\n" +
		"# for " + zone + ":\n" + comment(strings.TrimSuffix(delegation(names, zone), "\n"))
}

func comment(text string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#") {
			line = "#   " + line
		}
		out.WriteString(line)
	}
	return strings.TrimSuffix(out.String(), "\n") + "\n"
}

// grant is what one provider has to allow.
type grant struct {
	Provider
	names []string
}

func (g grant) text() string {
	head := fmt.Sprintf("# DNS provider %s: TXT records at %s\n", g.Provider.Provider, strings.Join(g.names, ", "))
	switch g.Provider.Provider {
	case "rfc2136":
		return head + g.rfc2136()
	case "route53":
		return head + g.route53()
	case "gcloud":
		return head + g.gcloud()
	case "azuredns":
		return head + g.azure()
	case "ovh":
		return head + g.ovh()
	}
	return head + comment(sentence(g.Provider.Provider))
}

// plain is a setting that is written in the configuration, or what stands for it.
func (g grant) plain(name, otherwise string) string {
	known, ok := find(g.Provider.Provider)
	for given, value := range g.Settings {
		if s, found := known.find(given); ok && found && s.canonical() == name && value.Plain != "" {
			return value.Plain
		}
	}
	return otherwise
}

// zone is the one that the configuration names for the records, or what stands for it.
func (g grant) zone() string {
	if len(g.Zones) == 1 {
		return g.Zones[0]
	}
	return "ZONE"
}
