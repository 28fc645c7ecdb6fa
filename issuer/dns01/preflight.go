package dns01

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/anycert/anycert/internal/failures"
)

// About is what a Preflight looks at.
type About struct {
	Domains []string // of one certificate, wildcards as "*.example.com"
	CAs     []string // the names that a CAA record may call the CA by (directory's caaIdentities); empty: not known
	Account string   // URL of the ACME account, for accounturi (RFC 8657); empty: none yet
	Trial   bool     // also write a TXT record, see it and remove it
}

// Finding is one thing that a Preflight saw.
type Finding struct {
	Domain string
	Blocks bool   // it is certain that the CA would refuse, or could not be answered
	Text   string // one sentence without the domain: what is there, and the record to change
}

// String is the whole sentence.
func (f Finding) String() string { return f.Domain + ": " + f.Text }

// Refusal joins those of findings that block; nil where none does.
func Refusal(findings []Finding) error {
	var errs []error
	for _, finding := range findings {
		if finding.Blocks {
			errs = append(errs, errors.New(finding.String()))
		}
	}
	return failures.Join(errs...)
}

// lookTime bounds a Preflight without its trial records, in a world where nothing
// answers.
const lookTime = 30 * time.Second

// Preflight finds what would fail before the CA is asked: where the challenge records
// belong and who may write there, what the zones' name servers say, by the delegation
// of the zone above, and what CAA records permit. What cannot be looked up is a
// finding that does not block; without findings all is well. What is wrong with
// several domains at once is told of the first.
//
// With a Propagation other than Authoritative nobody but the resolvers is asked, and
// a trial record is written and removed but not looked for: a resolver that has seen
// it would show it in the place of the real one for as long as its TTL.
func (s *Solver) Preflight(ctx context.Context, about About) []Finding {
	p := &preflight{Solver: s, about: about}
	looking, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	subjects := make([]*subject, len(bases(about.Domains)))
	permits := make([][]Finding, len(about.Domains))
	var group, asking errgroup.Group
	group.SetLimit(namesAtOnce)
	asking.SetLimit(namesAtOnce)
	for i, base := range bases(about.Domains) {
		group.Go(func() error {
			subjects[i] = p.look(looking, base)
			return nil
		})
	}
	for i, domain := range about.Domains {
		asking.Go(func() error {
			permits[i] = p.permits(looking, domain)
			return nil
		})
	}
	_, _ = group.Wait(), asking.Wait()
	if about.Trial {
		p.trials(ctx, subjects)
	}
	for _, s := range subjects {
		s.judge()
	}
	return collect(subjects, permits)
}

// collect puts what blocks first, and tells nothing twice.
func collect(subjects []*subject, permits [][]Finding) (findings []Finding) {
	add := func(more []Finding) {
		for _, finding := range more {
			if !slices.ContainsFunc(findings, func(known Finding) bool { return known.Text == finding.Text }) {
				findings = append(findings, finding)
			}
		}
	}
	for _, s := range subjects {
		add(s.findings)
	}
	for _, found := range permits {
		for _, finding := range found {
			// What could not be looked up for a reason that was told is not told again.
			if finding.Blocks || !slices.ContainsFunc(subjects, func(s *subject) bool {
				return s.domain == strings.TrimPrefix(finding.Domain, "*.") && s.place.by == nil && s.blocked()
			}) {
				add([]Finding{finding})
			}
		}
	}
	slices.SortStableFunc(findings, func(a, b Finding) int {
		return cmp.Compare(rank(a), rank(b))
	})
	return findings
}

func rank(f Finding) int {
	if f.Blocks {
		return 0
	}
	return 1
}

// preflight is one at work. What several domains ask is asked once.
type preflight struct {
	*Solver
	about  About
	zones  memo[*zoneView]
	failed memo[string]
	caa    memo[caaAnswer]
	silent sync.Map // zones none of whose name servers answered, by name
}

// subject is one domain, "*." left out, with what was found of it.
type subject struct {
	domain   string
	place    place     // where its record belongs; by is nil where that is not known
	view     *zoneView // of the place, by its name servers; nil where they were not asked
	findings []Finding
}

func (s *subject) blocks(format string, args ...any) {
	s.findings = append(s.findings, Finding{Domain: s.domain, Blocks: true, Text: fmt.Sprintf(format, args...)})
}

func (s *subject) warns(format string, args ...any) {
	s.findings = append(s.findings, Finding{Domain: s.domain, Text: fmt.Sprintf(format, args...)})
}

func (s *subject) blocked() bool {
	return slices.ContainsFunc(s.findings, func(f Finding) bool { return f.Blocks })
}

// look finds out where the record of a domain belongs, and what its servers say.
func (p *preflight) look(ctx context.Context, domain string) *subject {
	s := &subject{domain: domain}
	at, err := p.place(ctx, domain)
	if err == nil {
		s.place = at
		if at.by.config.Propagation.authoritative() {
			p.lookAtZone(ctx, s)
		}
		return s
	}
	var foreign *ForeignError
	var chain *chainError
	var nowhere *noProviderError
	switch {
	case errors.As(err, &foreign):
		s.blocks("%s", foreign.sentence())
	case errors.As(err, &chain):
		s.blocks("%s", chain.Error())
	case errors.As(err, &nowhere):
		s.blocks("%s", nowhere.sentence())
	default:
		p.explain(ctx, s, err)
	}
	return s
}

// bases are domains without "*.", each once.
func bases(domains []string) (bases []string) {
	for _, domain := range domains {
		if base := strings.TrimPrefix(domain, "*."); !slices.Contains(bases, base) {
			bases = append(bases, base)
		}
	}
	return bases
}

// memo keeps what was found under a key. Whoever asks for what is being found waits.
type memo[T any] struct {
	mu    sync.Mutex
	cells map[string]func() T
}

func (m *memo[T]) get(key string, find func() T) T {
	m.mu.Lock()
	if m.cells == nil {
		m.cells = map[string]func() T{}
	}
	cell, ok := m.cells[key]
	if !ok {
		cell = sync.OnceValue(find)
		m.cells[key] = cell
	}
	m.mu.Unlock()
	return cell()
}
