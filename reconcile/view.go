package reconcile

import (
	"cmp"
	"slices"
	"time"
)

// View is what a daemon tells people of one moment: what each certificate is, where it
// belongs, and what was seen there by the last passes. No key is in it, and no text that
// is not in its logs. Who gets it must not change what it points to.
type View struct {
	Time         time.Time
	Owner        string    // of the hub
	Looked       time.Time // when the store was asked last; zero: not yet
	Certificates []CertificateView
	Sinks        []SinkView
	Alarms       []Alarm
	Changes      []Change // the last ones, the newest first
}

// CertificateView is one declared certificate and its promises. While the store does not
// answer, its version and times are those that were read last.
type CertificateView struct {
	CertificateStatus
	State    State         `json:"state"`
	Promises []PromiseView `json:"promises"`
	Unseen   []string      `json:"unseen,omitempty"` // sinks where it belongs and no pass has ended yet
}

// PromiseView is a promise as the last pass of its sink left it.
type PromiseView struct {
	*Promise
	Seen     time.Time `json:"seen"`              // the end of that pass
	Since    time.Time `json:"since"`             // it was seen with this verdict first
	Verified time.Time `json:"verified,omitzero"` // it was last seen kept
	Astray   bool      `json:"astray,omitempty"`  // it is kept, and the world has been served something else for so long that somebody has to look
}

// SinkView is one sink. What is suspended has its names alone.
type SinkView struct {
	Name      string          `json:"name"`
	Type      string          `json:"type"`
	Suspended bool            `json:"suspended,omitempty"`
	Stale     bool            `json:"stale,omitempty"` // no pass has ended for so long that nobody can say how it is
	Verdicts  map[Verdict]int `json:"verdicts"`
	Passes    []Pass          `json:"passes"` // the last ones, the oldest first
}

// State of a certificate tells whether somebody has to look.
type State string

const (
	Failing   State = "failing"   // it could not be obtained or is not fit to be served, or a promise is neither kept nor waiting, or kept and not what the world is served
	Pending   State = "waiting"   // it is not there yet, or something is to come that nobody has to do
	Well      State = "well"      // all promises are kept
	Suspended State = "suspended" // frozen, and not looked at
)

// States lists them, the most urgent first.
func States() []State { return []State{Failing, Pending, Well, Suspended} }

// Ill reports whether somebody has to look at a promise.
func (p PromiseView) Ill() bool { return !p.well() || p.Astray }

// View tells all of this moment at once. It may be asked at any time, and reads nothing.
func (h *Health) View(now time.Time) View {
	alarms := h.Alarms(now).On
	h.mu.Lock()
	defer h.mu.Unlock()
	v := View{Time: now.UTC(), Owner: h.owner, Looked: h.looked, Alarms: alarms, Changes: h.recent.list()}
	promises, unseen := make(map[string][]PromiseView, len(h.listed)), make(map[string][]string)
	for _, named := range h.agents {
		known := h.sinks[named.Name]
		if known != nil {
			named.Stale = now.Sub(later(h.began, known.last)) > h.stale
			named.Passes, named.Verdicts = known.passes, make(map[Verdict]int)
			known.view(now, named.Verdicts, promises, func(certificate string) { unseen[certificate] = append(unseen[certificate], named.Name) })
		}
		v.Sinks = append(v.Sinks, named)
	}
	v.Certificates = make([]CertificateView, len(h.listed))
	for i, status := range h.listed {
		c := CertificateView{CertificateStatus: status, Promises: promises[status.Name], Unseen: unseen[status.Name]}
		c.State = c.state(now, h.looked.IsZero())
		v.Certificates[i] = c
	}
	return v
}

// view adds what is remembered of the promises, by certificate.
func (r *record) view(now time.Time, verdicts map[Verdict]int, promises map[string][]PromiseView, unseen func(certificate string)) {
	astray := make(map[place]bool)
	ill, _ := r.astray(now)
	for _, p := range ill {
		astray[p.place()] = true
	}
	for i := range r.promises {
		p, at := &r.promises[i], r.promises[i].place()
		if wire, seen := r.wires[at]; seen { // a copy: others have this one already
			with := *p
			with.Wire, p = wire.promise.Wire, &with
		}
		verdicts[p.Verdict]++
		promises[p.Certificate] = append(promises[p.Certificate],
			PromiseView{p, r.last.UTC(), r.stretches[at].since.UTC(), r.verified[at].UTC(), astray[at]})
	}
	if r.last.IsZero() {
		for _, certificate := range r.certificates {
			unseen(certificate)
		}
	}
}

// state sums a certificate up. unread: the store was not asked yet.
func (c CertificateView) state(now time.Time, unread bool) State {
	expired := c.NotAfter != nil && !now.Before(*c.NotAfter)
	switch {
	case c.Suspended:
		return Suspended
	case c.Problem != "" || c.Failure != nil || expired || slices.ContainsFunc(c.Promises, PromiseView.Ill):
		return Failing
	case unread || c.Version == 0 || c.Waits != nil || c.Request != nil || len(c.Unseen) > 0:
		return Pending
	case slices.ContainsFunc(c.Promises, func(p PromiseView) bool { return p.Verdict != Kept }):
		return Pending
	}
	return Well
}

// declared takes the names of a configuration, and keeps what was seen of them.
func (h *Health) declared(hub *Hub) {
	h.owner = hub.Owner
	h.agents = nil
	for _, agent := range hub.Agents {
		h.agents = append(h.agents, SinkView{Name: agent.Name, Type: agent.Type, Suspended: agent.Suspended})
	}
	slices.SortFunc(h.agents, func(a, b SinkView) int { return cmp.Compare(a.Name, b.Name) })
	before := make(map[string]CertificateStatus, len(h.listed))
	for _, c := range h.listed {
		before[c.Name] = c
	}
	h.listed = make([]CertificateStatus, len(hub.Certificates))
	for i, c := range hub.Certificates {
		status := before[c.Name]
		status.Name, status.Description, status.Owner = c.Name, c.Description, c.Owner
		status.Domains, status.Issuer, status.Suspended = c.Domains, c.Issuer, c.Suspended
		h.listed[i] = status
	}
}

// list puts listed in the place of what was known. states are those of the same
// certificates: a store that does not answer makes nobody forget what it said last.
func (h *Health) list(listed []CertificateStatus, states []CertificateState) {
	before := make(map[string]CertificateStatus, len(h.listed))
	for _, c := range h.listed {
		before[c.Name] = c
	}
	for i := range listed {
		if last := before[listed[i].Name]; !states[i].answered() {
			c := &listed[i]
			c.Version, c.NotBefore, c.NotAfter, c.Digest = last.Version, last.NotBefore, last.NotAfter, last.Digest
			c.Renewal, c.Why = last.Renewal, last.Why
		}
	}
	h.listed = listed
}
