package reconcile

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/anycert/anycert"
)

const (
	observers      = 8                // observations of one sink under way at once
	observeTimeout = 30 * time.Second // for one of them
	surveyTimeout  = 2 * time.Minute
)

// assessment is one look at the promises of one sink. It holds what can read and
// nothing that can write.
type assessment struct {
	owner    string
	truth    Truth
	accepted []string // certificates for which a person said that the store is right
	unbraked bool     // a person said that much may change at once
	only     Only
	memory   *memory
	now      time.Time
}

// assess looks at every promise of agent and judges it. It reads, and changes
// nothing anywhere. A target that cannot be read is a promise with the verdict
// unknown, never an error that hides the others.
func (a assessment) assess(ctx context.Context, agent Agent) []Promise {
	promises := a.promises(agent)
	for i, s := range a.sightings(ctx, agent, promises) { // all marks were seen before the first judgement
		a.conclude(&promises[i], s)
	}
	sortPromises(promises)
	return promises
}

// sightings observes the targets of promises.
func (a assessment) sightings(ctx context.Context, agent Agent, promises []Promise) []*sighting {
	var (
		eyes     = look(ctx, agent)
		seen     = make([]*sighting, len(promises))
		patience = patience{limit: observers, hurry: 2 * time.Second}
		group    errgroup.Group
	)
	group.SetLimit(observers)
	for i := range promises {
		group.Go(func() error {
			_ = patience.ask(ctx, observeTimeout, func(ctx context.Context) error {
				seen[i] = a.sight(ctx, eyes, promises[i])
				return seen[i].err
			})
			return nil
		})
	}
	_ = group.Wait()
	return seen
}

// promises lists what agent promised, not yet looked at.
func (a assessment) promises(agent Agent) []Promise {
	var promises []Promise
	for i := range agent.Certificates {
		certificate := &agent.Certificates[i]
		if certificate.Suspended {
			continue
		}
		declared := &sighting{certificate: certificate}
		targets, err := agent.targets(*certificate)
		if err != nil {
			promises = append(promises, Promise{
				Certificate: certificate.Name, Sink: agent.Name, Type: agent.Type,
				Verdict: Unknown, Reason: err.Error(), Err: err, sighting: declared,
			})
			continue
		}
		for _, target := range targets {
			if !a.only.target(target.Label) {
				continue
			}
			p := Promise{
				Certificate: certificate.Name, Sink: agent.Name, Type: agent.Type,
				Target: target.Label, Key: target.Key, target: target, sighting: declared,
			}
			p.endpoints, p.front = agent.endpoints(*certificate, target)
			promises = append(promises, p)
		}
	}
	return promises
}

// sight observes the target of one promise.
func (a assessment) sight(ctx context.Context, eyes anycert.Observer, p Promise) *sighting {
	s := &sighting{certificate: p.sighting.certificate, known: a.truth[p.Certificate], now: a.now, err: p.Err,
		accepted: slices.Contains(a.accepted, p.Certificate)}
	if s.err != nil {
		return s
	}
	s.observed, s.err = eyes.Observe(ctx, p.target)
	if mark := s.observed.Mark; s.err == nil && mark != nil && mark.Owner == a.owner {
		a.memory.see(*mark)
	}
	return s
}

// conclude writes the judgement of a sighting, which no promise has yet, into its promise.
func (a assessment) conclude(p *Promise, s *sighting) {
	s.doubted = a.memory.doubts(p.Certificate, s.known)
	j := judge(*s)
	p.Verdict, p.Action, p.Reason, p.Err = j.verdict, j.action, j.reason, s.err
	p.Evidence, p.sighting = s.observed.Evidence, s
	p.Version, p.NotAfter = 0, nil
	if s.known.Entry != nil {
		p.Version = s.known.Entry.Version
	}
	if s.observed.Found && !s.observed.NotAfter.IsZero() {
		p.NotAfter = &s.observed.NotAfter
	}
}

// look returns the observer of agent for one pass: from a listing where the sink can
// make one. The sink itself cannot be got back from it.
func look(ctx context.Context, agent Agent) anycert.Observer {
	surveyor, ok := agent.Sink.(anycert.Surveyor)
	if !ok {
		return eyes{agent.Sink.Observe}
	}
	ctx, cancel := context.WithTimeout(ctx, surveyTimeout)
	defer cancel()
	survey, err := survey(ctx, agent, surveyor)
	if err != nil {
		return eyes{func(context.Context, anycert.Target) (anycert.Observed, error) {
			return anycert.Observed{}, err
		}}
	}
	return eyes{survey.Observe}
}

func survey(ctx context.Context, agent Agent, surveyor anycert.Surveyor) (observer anycert.Observer, err error) {
	defer recovered("listing sink "+agent.Name, &err)
	return surveyor.Survey(ctx)
}

// eyes is an Observer and nothing else: no assertion gets a writer out of it.
type eyes struct {
	observe func(context.Context, anycert.Target) (anycert.Observed, error)
}

func (e eyes) Observe(ctx context.Context, target anycert.Target) (observed anycert.Observed, err error) {
	defer recovered("observing "+target.Label, &err)
	return e.observe(ctx, target)
}

// recovered turns a panic of a sink into an error, so that it stays where it is. The
// value of the panic is not shown: nobody knows what is in it.
func recovered(doing string, err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("%s: the sink panicked (%T): this is a bug of anycert, please report it", doing, r)
	}
}
