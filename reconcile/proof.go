package reconcile

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/anycert/anycert"
)

// proof is what canaries show of new versions.
type proof struct {
	*Hub
	canaries map[string][]Agent         // by certificate
	requests map[string]anycert.Request // what is to be revoked cannot wait as long
}

func (h *Hub) proof() proof {
	p := proof{h, make(map[string][]Agent), h.requests()}
	for _, agent := range h.Agents {
		if !agent.Canary {
			continue
		}
		for _, c := range agent.Certificates {
			p.canaries[c.Name] = append(p.canaries[c.Name], agent)
		}
	}
	return p
}

// latest is until when a promise waits at the latest: a third of the life of what is served
// is left then, or a third of the time from when somebody asked for it to be revoked until
// it is. Zero where neither is known.
func (f proof) latest(p Promise) time.Time {
	end := p.sighting.wanes()
	if r := f.requests[p.Certificate]; r.Revokes() {
		end = earliest(end, r.Deadline.Add(-r.Deadline.Sub(r.Time)/3))
	}
	return end
}

// earliest is the earlier of two times; one that is zero is not known.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// unwatched is for how long a canary may not be looked at before people are told that.
const unwatched = 5 * time.Minute

// unproven tells why the canaries do not show yet that the version of a promise is good; ""
// when they do. Whether they still are well when the soak is over must have been seen then.
func (f proof) unproven(p Promise) string {
	entry, canaries := *p.sighting.known.Entry, f.canaries[p.Certificate]
	var held, seen time.Time
	for _, canary := range canaries {
		if canary.Suspended {
			return canary.Name + " is suspended: resume it, or take `canary: true` from it"
		}
		promises := f.seen.of(canary.Name, p.Certificate)
		if len(promises) == 0 {
			return canary.Name + " was not looked at yet"
		}
		for _, first := range promises {
			if reason := f.lacking(first, entry); reason != "" {
				return canary.Name + " " + reason
			}
			held, seen = later(held, first.begun(entry)), earliest(seen, first.sighting.now)
			if first.Wire != nil && f.watches(first) {
				seen = earliest(seen, first.Wire.Time)
			}
		}
	}
	end := held.Add(f.Soak)
	switch {
	case len(canaries) == 0, f.Soak <= 0, !seen.Before(end), f.requests[p.Certificate].Compromised: // each minute counts
		return ""
	case p.sighting.now.Sub(seen) > unwatched:
		return fmt.Sprintf("%s has version %d since %s, and was not looked at since %s", canaries[0].Name, entry.Version, stamp(held), stamp(seen))
	}
	return fmt.Sprintf("%s has version %d since %s: the others follow at %s", canaries[0].Name, entry.Version, stamp(held), stamp(end))
}

// begun is when a canary has begun to hold a version, as far as that is known.
func (p Promise) begun(entry anycert.Entry) time.Time {
	if p.arrival.of == entry.Digest {
		return later(entry.Time, p.arrival.at)
	}
	return entry.Time
}

// watches reports whether somebody looks what the world is served of a promise.
func (h *Hub) watches(p Promise) bool { return h.Witness != nil && len(p.endpoints) > 0 }

// lacking tells what a canary's promise lacks of holding a version, also on the wire.
func (h *Hub) lacking(first Promise, entry anycert.Entry) string {
	known := first.sighting.known.Entry
	switch {
	case known == nil || known.Digest != entry.Digest:
		return fmt.Sprintf("was not seen with version %d yet", entry.Version)
	case first.Verdict != Kept:
		return strings.TrimSuffix(fmt.Sprintf("is not there yet: %s is %s: %s", first.Target, first.Verdict, cmp.Or(first.Reason, first.Because)), ": ")
	case !h.watches(first):
		return ""
	case first.Wire == nil:
		return fmt.Sprintf("has version %d, and nobody has looked yet at what the world is served", entry.Version)
	case !first.Wire.well():
		return fmt.Sprintf("has version %d, and the world is not served it: %s", entry.Version, first.Wire.Text)
	}
	return ""
}
