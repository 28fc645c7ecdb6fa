package dns01

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/anycert/anycert"
)

// trials writes, looks for and removes a record at each place where nothing is in the
// way. One provider that takes a record at a time gets them so.
func (p *preflight) trials(ctx context.Context, subjects []*subject) {
	var lines [][]*subject // each is worked off in order
	queues := map[*opened]int{}
	var known []place
	for _, s := range subjects {
		if s.place.by == nil || s.blocked() || slices.Contains(known, s.place) {
			continue
		}
		known = append(known, s.place)
		_, queued := s.place.by.sequential()
		at, begun := queues[s.place.by]
		if queued && begun {
			lines[at] = append(lines[at], s)
			continue
		}
		queues[s.place.by] = len(lines)
		lines = append(lines, []*subject{s})
	}
	var group errgroup.Group
	group.SetLimit(namesAtOnce)
	for _, line := range lines {
		group.Go(func() error {
			for i, s := range line {
				if pause, _ := s.place.by.sequential(); i > 0 && sleep(ctx, pause) != nil {
					return nil
				}
				p.trial(ctx, s)
			}
			return nil
		})
	}
	_ = group.Wait()
}

// trial tries one place, beside whatever an order has there.
func (p *preflight) trial(ctx context.Context, s *subject) {
	unlock, err := p.locks.lock(ctx, s.place.name)
	if err != nil {
		s.warns("no trial record was written: %v", err)
		return
	}
	defer unlock()
	b := batch{place: s.place, challenges: []Challenge{{Domain: s.domain, Token: "preflight", KeyAuth: rand.Text()}}}
	r := b.record(b.challenges[0])
	err = b.by.present(ctx, r)
	if err != nil {
		s.refused(b, err)
	} else {
		p.watchTrial(ctx, s, b)
	}
	p.removeTrial(ctx, s, r, err == nil)
}

// refused tells of a record that could not be written. Only a denial blocks: who was not
// reached, or has troubles of its own, has refused nothing.
func (s *subject) refused(b batch, err error) {
	told := fmt.Sprintf("DNS provider %s could not write a trial record: %v", b.by.config.Provider, b.by.redact.Error(err))
	if !errors.As(err, new(noZoneError)) {
		told += fmt.Sprintf(": it is to be able to add and remove %s IN TXT", s.place.name)
	}
	if !errors.Is(err, anycert.ErrForbidden) {
		s.warns("%s", told)
		return
	}
	for _, credential := range b.by.refs {
		credential.Refused()
	}
	s.blocks("%s", told)
}

// removeTrial is called also when nothing was seen to be written: it may have been.
func (p *preflight) removeTrial(ctx context.Context, s *subject, r record, written bool) {
	cleaning, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTime)
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(lastCleanUp, cancel) })()
	if err := s.place.by.cleanUp(cleaning, r); err != nil && written {
		s.warns("DNS provider %s could not remove the trial record (%v): remove %s IN TXT %q",
			s.place.by.config.Provider, s.place.by.redact.Error(err), s.place.name, r.value())
	}
}

// watchTrial looks for the record at the name servers that were found to serve the
// zone, as long as an order would.
func (p *preflight) watchTrial(ctx context.Context, s *subject, b batch) {
	if s.view == nil || s.view.newest() == nil {
		return
	}
	w := b.watch()
	limited, cancel := context.WithTimeoutCause(ctx, w.timeout, errTooLate)
	defer cancel()
	var without, unsure []string
	for pause := min(w.interval, 250*time.Millisecond); ; pause = min(2*pause, max(w.interval, 250*time.Millisecond)) {
		missing, silent := s.view.without(limited, s.place.name, b.values()[0])
		if len(missing)+len(silent) == 0 {
			return
		}
		if limited.Err() == nil || len(without)+len(unsure) == 0 { // what was cut off says nothing
			without, unsure = missing, silent
		}
		if sleep(limited, pause) == nil {
			continue
		}
		switch {
		case !errors.Is(context.Cause(limited), errTooLate):
			s.warns("a trial record was written, and there was no time to wait until the name server %s shows it", strings.Join(slices.Concat(without, unsure), ", "))
		case len(without) > 0:
			p.unseen(s, b, without, w.timeout)
		default:
			s.warns("a trial record was written, and the name server %s did not answer for it", strings.Join(unsure, ", "))
		}
		return
	}
}

// without are the servers that do not show a value, and those that do not say.
func (v *zoneView) without(ctx context.Context, name, value string) (without, unsure []string) {
	for _, server := range v.servers {
		if !server.serves() {
			continue
		}
		found, err := texts(ctx, server.address, name, false)
		switch {
		case err != nil:
			unsure = append(unsure, server.name)
		case !slices.Contains(found, value):
			without = append(without, server.name)
		}
	}
	return without, unsure
}

// unseen tells why some servers do not show what was written.
func (p *preflight) unseen(s *subject, b batch, without []string, waited time.Duration) {
	view := s.view
	serving := 0
	for _, server := range view.servers {
		if server.serves() {
			serving++
		}
	}
	switch {
	case len(without) == serving && view.inside != "":
		// A CA without a name for CAA records may be a private one, and see what we see.
		view.unseen.Store(len(p.about.CAs) > 0)
	case len(without) == serving:
		s.blocks("DNS provider %s took a trial record, and no name server of the zone %s shows it after %s: let it write to the zone that %s leads to",
			b.by.config.Provider, view.zone, waited, view.record(view.servers[0].name))
	default:
		view.blamed.Store(true)
		s.blocks("the name server %s of the zone %s does not show a trial record after %s, as the others do%s: let it transfer the zone, or remove %s",
			strings.Join(without, ", "), view.zone, waited, view.behind(without[0]), view.record(without[0]))
	}
}

// behind tells how old the zone of a server is.
func (v *zoneView) behind(name string) string {
	newest := v.newest()
	for _, server := range v.servers {
		if server.name == name && server.serves() && server.soa.Serial != newest.soa.Serial {
			return " (its serial is behind that of " + newest.name + ")"
		}
	}
	return ""
}
