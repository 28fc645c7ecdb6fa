package reconcile

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/anycert/anycert"
)

// sinkStanding is what a sink's record remembers for alarms.
type sinkStanding struct {
	places    map[place]standing
	contested map[place]contest
}

// contest is about a target that somebody keeps changing back.
type contest struct {
	writer      string
	since, last time.Time
}

// saw takes note of a pass. What the store was to blame for is no news of a place.
func (s *sinkStanding) saw(promises []Promise, at time.Time) {
	before := *s
	*s = sinkStanding{make(map[place]standing, len(promises)), make(map[place]contest)}
	for _, p := range promises {
		standing := before.places[p.place()]
		switch {
		case p.well():
			standing.saw(nil, at)
		case !p.storeToBlame():
			standing.saw(errors.New(p.Reason), at)
		}
		s.places[p.place()] = standing
		fought, known := before.contested[p.place()]
		if p.contested != "" {
			if !known {
				fought.since = at
			}
			fought.writer, fought.last, known = p.contested, at, true
		}
		if known && at.Sub(fought.last) < rivalry {
			s.contested[p.place()] = fought
		}
	}
}

// storeToBlame reports whether the promise is not kept since the store has nothing that
// can be served. That is told once, not for each place.
func (p Promise) storeToBlame() bool {
	if p.StoreErr() != nil && p.Verdict == Unknown && p.sighting.err == nil {
		return true
	}
	entry := p.sighting.known.Entry
	return p.Verdict == Broken && p.Action == None && entry != nil &&
		errors.Is(anycert.Check(entry.Leaf, p.sighting.certificate.Domains, p.sighting.now), anycert.ErrUnfit)
}

// hopeless reports whether no pass can mend it: it takes a person.
func (p Promise) hopeless() bool { return p.Verdict == Refused || p.Verdict == Held }

// sink raises the alarms of one sink.
func (c *collection) sink(name string, r *record, plights map[string]plight) {
	key := string(SinkAlarm) + "/" + name
	promised := string(PromiseAlarm) + "/" + name
	if late := c.now.Sub(later(c.began, r.last)); late > c.stale {
		c.raise(Alarm{Key: key, Kind: SinkAlarm, Severity: Critical, Sink: name, Since: later(c.began, r.last), Cause: "no pass",
			Text: fmt.Sprintf("no pass of sink %s has ended for too long: its API hangs, or it has more targets than fit between two passes; see `anycert audit --only %s`", name, name)})
		c.open[promised] = true
		return
	}
	if r.last.IsZero() {
		c.open[key], c.open[promised], c.open[string(ContestedAlarm)+"/"+name] = true, true, true
		return
	}
	ill := c.ill(name, r)
	if c.whole(name, r, ill, plights) {
		c.open[promised] = true
	} else {
		for _, promises := range ill {
			c.promise(name, r, promises, plights[promises[0].Certificate])
		}
	}
	c.contests(name, r, plights)
}

// ill groups by certificate the promises that were not kept for long enough, and leaves
// open those of which it cannot be told.
func (c *collection) ill(name string, r *record) [][]Promise {
	var groups [][]Promise
	at := make(map[string]int)
	for _, p := range r.promises {
		standing := r.standing.places[p.place()]
		switch {
		case standing.ill >= passes || standing.ill > 0 && p.hopeless():
			i, known := at[p.Certificate]
			if !known {
				i = len(groups)
				at[p.Certificate], groups = i, append(groups, nil)
			}
			groups[i] = append(groups[i], p)
		case standing.well < passes:
			c.open[string(PromiseAlarm)+"/"+name+"/"+p.Certificate] = true
			c.open[string(SinkAlarm)+"/"+name] = true
		}
	}
	return groups
}

// whole raises the alarm about a sink where nothing can be read, or so many certificates
// are not where they belong that one thing must be wrong with all of them.
func (c *collection) whole(name string, r *record, ill [][]Promise, plights map[string]plight) bool {
	var all []Promise
	since := c.now
	for _, promises := range ill {
		all = append(all, promises...)
		since = earlier(since, r.since(promises))
	}
	dead := len(ill) > 1 && len(all) == len(r.promises) && !slices.ContainsFunc(all, func(p Promise) bool { return p.Verdict != Unknown })
	if !dead && len(ill) <= oneByOne {
		return false
	}
	first := all[0]
	c.raise(Alarm{Key: string(SinkAlarm) + "/" + name, Kind: SinkAlarm, Severity: c.worst(all, plights), Sink: name, Target: first.Target, Since: since,
		Cause: string(first.Verdict) + " " + first.Reason,
		Text: fmt.Sprintf("%d of %d promises of sink %s are not kept, that of certificate %s at %s is %s: %s; `anycert audit --only %s` lists them",
			len(all), len(r.promises), name, first.Certificate, first.Target, first.Verdict, first.Reason, name)})
	return true
}

// promise raises the alarm about one certificate at one sink.
func (c *collection) promise(name string, r *record, promises []Promise, p plight) {
	first := promises[0]
	more := ""
	if n := len(promises) - 1; n > 0 {
		more = fmt.Sprintf(" (and %d more targets)", n)
	}
	a := p.alarm(PromiseAlarm, strings.Join([]string{string(PromiseAlarm), name, first.Certificate}, "/"), c.now, r.since(promises),
		string(first.Verdict)+" "+first.Reason,
		fmt.Sprintf("certificate %s at %s %s%s is %s: %s", first.Certificate, name, first.Target, more, first.Verdict, first.Reason))
	a.Certificate, a.Sink, a.Target, a.Severity = first.Certificate, name, first.Target, c.worst(promises, map[string]plight{first.Certificate: p})
	a.NotAfter = time.Time{}
	for _, p := range promises {
		if p.NotAfter != nil && (a.NotAfter.IsZero() || p.NotAfter.Before(a.NotAfter)) {
			a.NotAfter = *p.NotAfter
		}
	}
	c.raise(a)
}

// worst is critical when any of promises is held, since the store has lost something, and
// when what is served at any of the targets has expired, or has less than a tenth of its
// lifetime left, or less than half of what a renewal has.
func (c *collection) worst(promises []Promise, plights map[string]plight) Severity {
	for _, p := range promises {
		if p.Verdict == Held {
			return Critical
		}
		if p.NotAfter == nil {
			continue
		}
		served := plights[p.Certificate]
		lifetime := served.NotAfter.Sub(served.NotBefore)
		margin := lifetime / shareUrgent
		if p.NotAfter.Equal(served.NotAfter) && served.urgent(c.now) || p.NotAfter.Sub(c.now) <= margin {
			return Critical
		}
	}
	return Warning
}

// contests raises the alarms about targets that somebody keeps changing back. They are
// over when that has not happened for an hour.
func (c *collection) contests(name string, r *record, plights map[string]plight) {
	if c.now.Sub(c.began) < rivalry {
		c.open[string(ContestedAlarm)+"/"+name] = true // another process may have seen it within the hour
	}
	raised := make(map[string]bool)
	for _, p := range r.promises {
		fought, known := r.standing.contested[p.place()]
		if !known || raised[p.Certificate] || c.now.Sub(fought.last) >= rivalry {
			continue
		}
		raised[p.Certificate] = true
		a := plights[p.Certificate].alarm(ContestedAlarm, strings.Join([]string{string(ContestedAlarm), name, p.Certificate}, "/"), c.now, fought.since, fought.writer,
			fmt.Sprintf("certificate %s at %s %s is changed back by %s each time that anycert mends it: let one of the two go", p.Certificate, name, p.Target, fought.writer))
		a.Certificate, a.Sink, a.Target = p.Certificate, name, p.Target
		c.raise(a)
	}
}

// since is when the first of promises was seen not to be kept.
func (r *record) since(promises []Promise) time.Time {
	first := slices.MinFunc(promises, func(a, b Promise) int {
		return cmp.Compare(r.standing.places[a.place()].since.UnixNano(), r.standing.places[b.place()].since.UnixNano())
	})
	return r.standing.places[first.place()].since
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
