package reconcile

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/anycert/anycert"
)

// Parts are what a Hub works on: one configuration, opened.
type Parts struct {
	Owner        string
	Store        anycert.Store
	Issuer       anycert.Issuer  // nil: a follower, which never issues
	Witness      anycert.Witness // nil: nobody looks at the wire
	Certificates []anycert.Certificate
	Agents       []Agent
	Soak         time.Duration // how long a canary has held a new version before the others follow
	Brake        Brake
}

// Hub does the passes over one configuration. It is safe for concurrent use, though
// two passes over one sink at once only waste each other's work.
type Hub struct {
	Parts
	log     *changes
	leaves  *leaves
	indexer *indexer
	memory  *memory
	orders  *orders
	rivals  *rivals
	first   *firstLook
	seen    *evidence
	told    *told
}

// New makes a hub. Changes of what it sees and everything that it does are logged to
// log, each once.
func New(parts Parts, log *slog.Logger) *Hub {
	h := &Hub{
		Parts:   parts,
		log:     newChanges(log),
		leaves:  new(leaves),
		indexer: &indexer{store: parts.Store},
		memory:  new(memory),
	}
	h.orders = newOrders(h.log)
	h.rivals, h.seen, h.told = new(rivals), new(evidence), new(told)
	h.first = newFirstLook(parts.Agents)
	return h
}

// With makes a hub for another configuration that remembers what h has seen.
func (h *Hub) With(parts Parts) *Hub {
	next := *h
	next.Parts, next.leaves, next.indexer = parts, new(leaves), &indexer{store: parts.Store}
	return &next
}

// Audit compares every place, and what the world is served from there, with the store,
// and changes nothing. It reads no key from the store.
func (h *Hub) Audit(ctx context.Context, only Only) *Report {
	concerned := h.concerned(only)
	truth := readTruth(ctx, h.Store, concerned)
	look := h.assessment(truth, only, nil)
	report := h.report(concerned, truth, look.now)
	lookout := h.lookAtWire(ctx, h.each(only, look.promises), func(p Promise) *anycert.Entry { return truth[p.Certificate].Entry })
	report.Promises = h.compare(ctx, look)
	h.listUndeclared(ctx, report)
	h.listOrphans(ctx, only, report)
	h.listLookalikes(ctx, only, report)
	lookout.conclude(report.Promises)
	h.foresee(ctx, look, report.Promises)
	report.showSides()
	return report
}

// Status tells what the store knows of every certificate and whether the promises
// are kept. Like Audit, it changes nothing and reads no key.
func (h *Hub) Status(ctx context.Context) *Report {
	truth := readTruth(ctx, h.Store, h.Certificates)
	recalled := h.recall(ctx, wanted(h.Certificates, truth), false, storeTimeout)
	look := h.assessment(truth, Only{}, nil)
	report := h.report(h.Certificates, truth, look.now)
	report.Promises = h.compare(ctx, look)
	h.foresee(ctx, look, report.Promises)
	if recalled != nil {
		report.Notes = append(report.Notes, "not all is known about the next renewals: "+recalled.Error())
	}
	report.Notes = append(report.Notes, h.stranded(truth)...)
	return report
}

// compare looks at every sink, and judges when the marks at all of them are known.
func (h *Hub) compare(ctx context.Context, look assessment) []Promise {
	promises := h.each(look.only, func(agent Agent) []Promise { return look.assess(ctx, agent) })
	for i := range promises {
		s := *promises[i].sighting
		look.conclude(&promises[i], &s)
	}
	return promises
}

// SyncOptions narrow a Sync.
type SyncOptions struct {
	Only        Only
	NoIssue     bool
	Timeout     time.Duration // for obtaining; zero: as long as ctx lives
	AcceptStore []string      // certificates whose store is right although it went back
	Unbraked    bool          // much may change at once
}

// Sync obtains what is due, then does one pass over the sinks. Obtaining ends with
// ctx; the pass has a time-out for each thing that it does. Narrowed, it obtains only
// what belongs there.
func (h *Hub) Sync(ctx context.Context, options SyncOptions) *Report {
	concerned := h.concerned(options.Only)
	truth := h.truth(ctx, concerned)
	obtained := false
	if !options.NoIssue {
		limited, cancel := withTimeout(ctx, options.Timeout)
		defer cancel()
		due := h.plan(limited, concerned, truth)
		h.orders.all(limited, h.Issuer, due, truth, func() {})
		if obtained = len(due) > 0; obtained {
			truth = h.truth(ctx, concerned)
		}
	}
	for _, name := range options.AcceptStore {
		h.memory.forget(name)
	}
	look := h.assessment(truth, options.Only, options.AcceptStore)
	look.unbraked = options.Unbraked
	report := h.report(concerned, truth, look.now)
	report.Promises = h.each(options.Only, func(agent Agent) []Promise { return h.pass(ctx, agent, look) })
	h.second(ctx, look, report.Promises)
	if obtained { // what the CA advises about it is kept now, so that a second pass has nothing to write
		_ = h.recall(ctx, wanted(concerned, truth), true, storeTimeout)
	}
	if !options.NoIssue {
		h.settle(ctx, concerned, truth)
	}
	return report
}

func withTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, d)
}

// pass is one round of one sink over its promises.
func (h *Hub) pass(ctx context.Context, agent Agent, look assessment) []Promise {
	promises := look.assess(ctx, agent)
	if h.first.awaits(agent.Name) { // what was seen there in the last pass serves the others as well
		h.saw(ctx, agent, look, promises)
		h.first.seen(agent.Name)
	}
	if look.only == (Only{}) && wantsFirstLook(promises) {
		h.first.wait(ctx)
	}
	h.apply(ctx, agent, look, promises)
	h.saw(ctx, agent, look, promises)
	return promises
}

// apply does what promises of agent want, and tells of it, but for those that wait for a
// canary: that may end in the same pass.
func (h *Hub) apply(ctx context.Context, agent Agent, look assessment, promises []Promise) {
	restrain := func(look assessment, promises []*Promise) { h.restrain(agent, look, promises) }
	application{h.Store, h.indexer, look, h.rivals, restrain}.apply(ctx, agent, promises)
	h.note(ctx, agent, settled(promises))
}

// saw takes note of a look at agent, unless it was broken off or narrowed.
func (h *Hub) saw(ctx context.Context, agent Agent, look assessment, promises []Promise) {
	if ctx.Err() == nil && look.only.Target == "" {
		h.seen.put(agent.Name, promises)
	}
}

// note tells of what a pass did and saw.
func (h *Hub) note(ctx context.Context, agent Agent, promises []Promise) {
	for _, p := range promises {
		if ctx.Err() != nil { // broken off: what it did not see is no news
			h.log.pushed(p)
			continue
		}
		h.log.promise(p)
	}
	if ctx.Err() == nil {
		h.told.tell(ctx, agent, promises, h.log)
	}
}

// concerned are the certificates that belong to what only names.
func (h *Hub) concerned(only Only) []anycert.Certificate {
	if only == (Only{}) {
		return h.Certificates
	}
	belongs := make(map[string]bool)
	for _, agent := range h.Agents {
		if !only.sink(agent.Name) {
			continue
		}
		for _, c := range agent.Certificates {
			targets, err := agent.targets(c)
			if err != nil || slices.ContainsFunc(targets, func(t anycert.Target) bool { return only.target(t.Label) }) {
				belongs[c.Name] = true
			}
		}
	}
	return selected(h.Certificates, func(c anycert.Certificate) bool { return belongs[c.Name] })
}

// truth reads the store, and indexes what a person wrote there by hand.
func (h *Hub) truth(ctx context.Context, certificates []anycert.Certificate) Truth {
	truth := readTruth(ctx, h.leaves.reader(h.Store), certificates)
	h.indexer.index(ctx, truth)
	return truth
}

func (h *Hub) assessment(truth Truth, only Only, accepted []string) assessment {
	for _, known := range truth {
		if known.Entry != nil {
			h.memory.see(anycert.MarkOf(h.Owner, *known.Entry))
		}
	}
	return assessment{owner: h.Owner, truth: truth, accepted: accepted, only: only, memory: h.memory, now: time.Now()}
}

// each calls do for every sink that takes part, all at once.
func (h *Hub) each(only Only, do func(Agent) []Promise) []Promise {
	var (
		mu       sync.Mutex
		wait     sync.WaitGroup
		promises = []Promise{}
	)
	for _, agent := range h.Agents {
		if agent.Suspended || !only.sink(agent.Name) {
			continue
		}
		wait.Go(func() {
			seen := do(agent)
			mu.Lock()
			defer mu.Unlock()
			promises = append(promises, seen...)
		})
	}
	wait.Wait()
	sortPromises(promises)
	return promises
}

// report describes certificates; the promises are filled in by the caller.
func (h *Hub) report(certificates []anycert.Certificate, truth Truth, now time.Time) *Report {
	report := &Report{Schema: reportSchema, Time: now.UTC(), Promises: []Promise{}, Certificates: []CertificateStatus{}}
	requests, held := h.requests(), h.held(certificates, truth, now)
	for _, certificate := range certificates {
		status := h.certificate(certificate, truth[certificate.Name], now)
		if request, ok := requests[certificate.Name]; ok && !certificate.Suspended {
			status.Request = requestStatus(request)
		}
		slot, waits := held[certificate.Name]
		if !waits {
			slot, waits = h.orders.waiting(certificate.Name)
		}
		if waits {
			status.Waits, status.WaitsFor = &slot.At, slot.Reason
		}
		report.Certificates = append(report.Certificates, status)
	}
	for _, agent := range h.Agents {
		if agent.Suspended {
			report.Suspended = append(report.Suspended, agent.Name)
		}
	}
	slices.Sort(report.Suspended)
	return report
}

func (h *Hub) certificate(c anycert.Certificate, known Known, now time.Time) CertificateStatus {
	status := CertificateStatus{Name: c.Name, Description: c.Description, Owner: c.Owner,
		Domains: c.Domains, Issuer: c.Issuer, Suspended: c.Suspended}
	if entry := known.Entry; entry != nil {
		notBefore, notAfter := entry.Leaf.NotBefore, entry.Leaf.NotAfter // copies: the leaf is large, and need not be kept
		status.Version, status.NotBefore, status.NotAfter, status.Digest = entry.Version, &notBefore, &notAfter, entry.Digest.String()
		status.Err = anycert.Check(entry.Leaf, c.Domains, now)
	} else {
		status.Err = unlessAbsent(known.Err)
	}
	renewal := h.renewal(c, known, now)
	if !renewal.At.IsZero() {
		status.Renewal, status.Why = &renewal.At, renewal.Reason
	}
	if f := renewal.Failure; f != nil {
		status.Failure = &FailureStatus{f.Class, f.Issuer, f.Text, f.Attempts, f.Since, f.Last, f.Next}
	}
	if err := h.failure(c.Name, renewal); err != nil {
		status.Err = err
	}
	if c.Suspended { // on purpose: what is wrong with it is not looked at
		status.Err = nil
	}
	if status.Err != nil {
		status.Problem = status.Err.Error()
	}
	return status
}

// renewal is zero where nothing is ever ordered: without an issuer, suspended, or
// while the store does not say what there is.
func (h *Hub) renewal(c anycert.Certificate, known Known, now time.Time) anycert.Renewal {
	if h.Issuer == nil || !orderable(c, known) {
		return anycert.Renewal{}
	}
	return h.Issuer.Renewal(c, known.Entry, now)
}

// held are the certificates that are due and that the CA's limits hold back.
func (h *Hub) held(certificates []anycert.Certificate, truth Truth, now time.Time) map[string]anycert.Slot {
	if h.Issuer == nil {
		return nil
	}
	due := slices.DeleteFunc(wanted(certificates, truth), func(w anycert.Wanted) bool {
		return !h.Issuer.Renewal(w.Certificate, w.Entry, now).Due(now)
	})
	_, held := byUrgency(h.Issuer, due, nil, now)
	return held
}
