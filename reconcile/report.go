package reconcile

import (
	"slices"
	"time"

	"github.com/anycert/anycert"
)

// Report is what a look at the world, or a pass, saw and did. It is data; how it is
// shown is up to the caller.
type Report struct {
	Schema       int                 `json:"schema"` // of this JSON, counts up when a field changes its meaning
	Time         time.Time           `json:"time"`
	Certificates []CertificateStatus `json:"certificates"`
	Promises     []Promise           `json:"promises"`
	Suspended    []string            `json:"suspended,omitempty"`  // sinks that are frozen
	Undeclared   []string            `json:"undeclared,omitempty"` // in the store, not in the configuration; pushed nowhere
	Orphans      []Orphan            `json:"orphans,omitempty"`    // ours at a sink, no longer declared
	Lookalikes   []Lookalike         `json:"lookalikes,omitempty"` // somebody else's, for names of ours
	Notes        []string            `json:"notes,omitempty"`      // what could not be listed, and why
}

// reportSchema is the number in every Report.
const reportSchema = 1

// Orphan is an object with our mark that belongs to no declared target.
type Orphan struct {
	Sink        string    `json:"sink"`
	Label       string    `json:"target"`
	Certificate string    `json:"certificate"`
	Time        time.Time `json:"version_time"`

	orphan anycert.Orphan
	sink   anycert.Sink
}

// CertificateStatus is one certificate as the store knows it.
type CertificateStatus struct {
	Name        string     `json:"name"`
	Description string     `json:"description,omitempty"`
	Owner       string     `json:"owner,omitempty"`
	Domains     []string   `json:"domains"`
	Issuer      string     `json:"issuer,omitempty"`
	Suspended   bool       `json:"suspended,omitempty"`
	Version     int        `json:"version,omitempty"`
	NotBefore   *time.Time `json:"not_before,omitempty"`
	NotAfter    *time.Time `json:"not_after,omitempty"`
	Digest      string     `json:"digest,omitempty"`
	Renewal     *time.Time `json:"next_renewal,omitempty"`
	Why         string     `json:"renewal_reason,omitempty"`
	Waits       *time.Time `json:"waits_until,omitempty"` // due, and the CA's limits let it begin then
	WaitsFor    string     `json:"waits_for,omitempty"`   // which limit that is
	Problem     string     `json:"problem,omitempty"`     // why it could not be read, obtained or served

	Failure *FailureStatus `json:"failure,omitempty"` // how the attempts to obtain it failed since the last that did not
	Request *RequestStatus `json:"request,omitempty"` // what a person asked for, and is not done

	// Err is what Problem was made from; nil when all is well or merely waiting.
	Err error `json:"-"`
}

// FailureStatus is an anycert.Failure as machines read it.
type FailureStatus struct {
	Class    anycert.FailureClass `json:"class"`
	Issuer   string               `json:"issuer,omitempty"`
	Text     string               `json:"text"`
	Attempts int                  `json:"attempts"`
	Since    time.Time            `json:"since"`
	Last     time.Time            `json:"last"`
	Next     time.Time            `json:"next,omitzero"`
}

// Count tells how many promises have each verdict.
func (r *Report) Count() map[Verdict]int {
	count := make(map[Verdict]int)
	for _, p := range r.Promises {
		count[p.Verdict]++
	}
	return count
}

// Has reports whether any promise has one of the verdicts.
func (r *Report) Has(verdicts ...Verdict) bool {
	return slices.ContainsFunc(r.Promises, func(p Promise) bool { return slices.Contains(verdicts, p.Verdict) })
}

// The exit codes of the verbs.
const (
	ExitOK      = 0
	ExitFailed  = 1 // sync: something failed, was refused or held; audit: it could not be told
	ExitDiffers = 2 // audit: something differs
)

// HasWire reports whether the wire of any promise is in one of the states.
func (r *Report) HasWire(states ...WireState) bool {
	return slices.ContainsFunc(r.Promises, func(p Promise) bool { return p.Wire != nil && slices.Contains(states, p.Wire.State) })
}

// AuditExit is the exit code of an audit: not being able to tell wins over a
// difference.
func (r *Report) AuditExit() int {
	switch {
	case r.Has(Unknown), r.HasWire(WireUnseen):
		return ExitFailed
	case r.Has(Broken, Refused, Held, Waiting), r.HasWire(WireBehind, WireUnfit):
		return ExitDiffers
	}
	return ExitOK
}

// SyncExit is the exit code of a sync: waiting is no failure, everything else that
// is not kept is one, and so is a certificate that could not be obtained.
func (r *Report) SyncExit() int {
	if r.Has(Broken, Refused, Held, Unknown) {
		return ExitFailed
	}
	return r.certificatesExit()
}

// StatusExit is the exit code of a status: a difference is shown and is no failure.
func (r *Report) StatusExit() int {
	if r.Has(Unknown) {
		return ExitFailed
	}
	return r.certificatesExit()
}

func (r *Report) certificatesExit() int {
	for _, c := range r.Certificates {
		if c.Err != nil {
			return ExitFailed
		}
	}
	return ExitOK
}
