package dns01

import "context"

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
	Text   string // one sentence: what is there, and the record to change
}

// Preflight finds what would fail before the CA is asked. What cannot be looked up is a
// finding that does not block; without findings all is well.
func (s *Solver) Preflight(ctx context.Context, about About) []Finding { return nil }
