package main

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/config"
	"github.com/anycert/anycert/reconcile"
)

// revokeTimeout bounds all that revoke asks: the store, every target, the CA.
const revokeTimeout = 3 * time.Minute

// revocation is what a person asks for.
type revocation struct {
	version int // 0: the current one
	reason  string
	yes     bool
	current bool // although it is served
}

// replacing is the reason of a renewal that revokes as this does, in the end.
func (r revocation) replacing() string {
	if r.reason == "compromised" {
		return r.reason
	}
	return "superseded"
}

func (a *app) revokeCommand() *cobra.Command {
	var asked revocation
	cmd := &cobra.Command{
		Use:   "revoke NAME --reason REASON",
		Short: "Show what would be revoked and who still serves it, and revoke it with --yes",
		Long: `Ask the CA to revoke one version of the certificate NAME, for good. Shown first are
the version and the targets that were just seen to serve it; with --yes it is revoked.

Clients that check revocation refuse what is revoked, so what is the current version or
still served is revoked only with --current as well. Mostly that is not what one wants:

  anycert renew NAME --reason compromised

puts a new key everywhere first, revokes the old certificate after that, and destroys
the old key in the store.

REASON is one of ` + strings.Join(anycert.RevocationReasons(), ", ") + `. For
compromised, the CA may revoke other certificates with that key as well.

Exit code: 0 it was shown or, with --yes, revoked; 1 otherwise.`,
		Example: `  anycert revoke example --version 3 --reason superseded
  anycert revoke example --version 3 --reason superseded --yes`,
		Args: oneCertificate,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), revokeTimeout)
			defer cancel()
			if err := a.revoke(ctx, args[0], asked); err != nil {
				return fmt.Errorf("revoke: %w", err)
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&asked.version, "version", 0, "`version` to revoke, one that history shows (default the current one)")
	flags.StringVar(&asked.reason, "reason", "", "`why`: "+strings.Join(anycert.RevocationReasons(), ", "))
	flags.BoolVar(&asked.yes, "yes", false, "revoke what is shown")
	flags.BoolVar(&asked.current, "current", false, "although it is the current version, or still served")
	_ = cmd.RegisterFlagCompletionFunc("reason", words(anycert.RevocationReasons()...))
	_ = cmd.RegisterFlagCompletionFunc("version", cobra.NoFileCompletions)
	cmd.ValidArgsFunction = a.certificateNames
	return cmd
}

func (a *app) revoke(ctx context.Context, name string, asked revocation) error {
	switch {
	case asked.reason == "":
		return fmt.Errorf("it is not said why: use --reason with one of %s", strings.Join(anycert.RevocationReasons(), ", "))
	case !slices.Contains(anycert.RevocationReasons(), asked.reason):
		return fmt.Errorf("--reason %q: use one of %s", asked.reason, strings.Join(anycert.RevocationReasons(), ", "))
	}
	graph, declared, err := a.graphFor(name)
	if err != nil {
		return err
	}
	defer a.close(graph)
	requester, ok := graph.Issuer.(anycert.Requester)
	if !ok {
		return fmt.Errorf("certificate %s: this configuration has no issuer that could ask a CA: run it with that of the hub", name)
	}
	condemned, err := condemn(ctx, graph, declared, asked.version)
	if err != nil {
		return fmt.Errorf("certificate %s: %w", name, err)
	}
	seen := serving(ctx, graph, declared, condemned)
	a.show(declared, condemned, seen, asked)
	switch inUse := condemned.current || len(seen) > 0; {
	case time.Now().After(condemned.leaf.NotAfter):
		a.say("nothing was revoked: it has expired, and nobody takes it any more")
		return nil
	case asked.yes && inUse && !asked.current:
		return fmt.Errorf("certificate %s: version %d is served, or may be, see above, so nothing was revoked: replace it everywhere first (anycert renew %s --reason %s does that, and revokes it then), or say --current as well, and clients that check revocation refuse it",
			name, condemned.version, name, asked.replacing())
	case !asked.yes && inUse:
		a.say("nothing was revoked: `anycert renew %s --reason %s` replaces it first; --yes --current revokes it as it is", name, asked.replacing())
		return nil
	case !asked.yes:
		a.say("nothing was revoked: --yes revokes it")
		return nil
	}
	if err := requester.Revoke(ctx, declared, condemned.leaf, condemned.origin, asked.reason); err != nil {
		return err
	}
	a.say("revoked: clients learn of it by OCSP or the CA's list, within hours or days")
	if err := noteRevoked(ctx, graph.Store, name, condemned.version, asked.reason); err != nil {
		a.note("it was revoked, and `anycert history %s` does not tell it: %v", name, err)
	}
	if condemned.current {
		a.say("it is the current version still: `anycert renew %s` replaces it", name)
	}
	return nil
}

// noteRevoked has the store tell people later that a version was revoked.
func noteRevoked(ctx context.Context, store anycert.Store, name string, version int, reason string) error {
	historian, err := historianOf(store)
	if err != nil {
		return err
	}
	return historian.NoteRevoked(ctx, name, []int{version}, anycert.Revocation{Time: time.Now().UTC().Truncate(time.Second), By: whoami(), Reason: reason})
}

// condemned is the version that is to be revoked.
type condemned struct {
	version int
	current bool // it is, or is the same certificate as, the current version
	leaf    *x509.Certificate
	digest  anycert.Digest
	origin  anycert.Origin
	before  *anycert.Revocation // what is known of one before
}

// condemn reads the certificate of a version; 0 is the current one.
func condemn(ctx context.Context, graph *config.Graph, declared anycert.Certificate, version int) (condemned, error) {
	current, damage, err := lookInto(ctx, graph.Store, declared.Name)
	switch {
	case errors.Is(err, anycert.ErrDeleted) && current.Version > 0, damage != nil:
	case err != nil:
		return condemned{}, err
	}
	if version == 0 || version == current.Version {
		if current.Leaf == nil {
			return condemned{}, fmt.Errorf("version %d, the current one, cannot be read: name another with --version", current.Version)
		}
		past, err := versionOf(ctx, graph.Store, declared.Name, current.Version)
		return condemned{current.Version, true, current.Leaf, current.Digest, current.Origin, past.Revoked}, err
	}
	past, err := versionOf(ctx, graph.Store, declared.Name, version)
	switch {
	case err != nil:
		return condemned{}, err
	case past.Destroyed, past.Deleted:
		return condemned{}, fmt.Errorf("version %d was %s, so its certificate cannot be read: revoke it at the CA", version, map[bool]string{true: "destroyed", false: "deleted"}[past.Destroyed])
	}
	bundle, err := graph.Store.Get(ctx, declared.Name, version)
	if err != nil {
		return condemned{}, err
	}
	return condemned{version, current.Leaf != nil && bundle.Leaf().Equal(current.Leaf), bundle.Leaf(), bundle.Digest(), past.Origin, past.Revoked}, nil
}

// show says what would be revoked, and what comes of it.
func (a *app) show(declared anycert.Certificate, c condemned, seen []sighting, asked revocation) {
	which := fmt.Sprintf("version %d", c.version)
	if c.current {
		which += ", the current one"
	}
	a.say("%s: %s, serial %x, for %s, until %s", declared.Name, which, c.leaf.SerialNumber, strings.Join(c.leaf.DNSNames, " "), stamp(c.leaf.NotAfter))
	a.say("  from %s, to be revoked as %s", orDash(c.leaf.Issuer.String()), asked.reason)
	if c.before != nil {
		a.say("  revoked already (%s)", revocationWords(c.before))
	}
	for _, s := range seen {
		a.say("  %s", s.text())
	}
	if len(seen) == 0 {
		a.say("  no target serves it")
	}
}

// sighting is a target that serves a certificate, or may.
type sighting struct {
	sink, target string
	err          error // why it could not be told
	suspended    bool  // it was not looked at
}

func (s sighting) text() string {
	where := "sink " + s.sink
	if s.target != "" {
		where = s.target + " at " + where
	}
	switch {
	case s.suspended:
		return where + " is suspended and was not looked at: it may be served there"
	case s.err != nil:
		return where + " could not be looked at, so it may be served there: " + reconcile.Clean(s.err.Error())
	}
	return "served: " + where
}

// serving looks at every declared target of a certificate, and tells which serve the
// leaf, or cannot be said not to.
func serving(ctx context.Context, graph *config.Graph, declared anycert.Certificate, c condemned) []sighting {
	var (
		mu   sync.Mutex
		wait sync.WaitGroup
		seen []sighting
	)
	for _, agent := range graph.Agents {
		if !slices.ContainsFunc(agent.Certificates, func(other anycert.Certificate) bool { return other.Name == declared.Name }) {
			continue
		}
		wait.Go(func() {
			found := c.at(ctx, agent, declared)
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, found...)
		})
	}
	wait.Wait()
	slices.SortFunc(seen, func(a, b sighting) int {
		return cmp.Or(cmp.Compare(a.sink, b.sink), cmp.Compare(a.target, b.target))
	})
	return seen
}

// at looks at the targets of one sink.
func (c condemned) at(ctx context.Context, agent reconcile.Agent, declared anycert.Certificate) (seen []sighting) {
	if agent.Suspended {
		return []sighting{{sink: agent.Name, suspended: true}}
	}
	targets, err := agent.Sink.Targets(declared.Name, declared.Domains)
	if err != nil {
		return []sighting{{sink: agent.Name, err: err}}
	}
	for _, target := range targets {
		observed, err := agent.Sink.Observe(ctx, target)
		if err != nil || c.is(observed) {
			seen = append(seen, sighting{sink: agent.Name, target: target.Label, err: err})
		}
	}
	return seen
}

// is reports whether what was seen is the certificate, as far as it can be seen.
func (c condemned) is(observed anycert.Observed) bool {
	switch {
	case !observed.Found:
		return false
	case !observed.Digest.IsZero() && observed.Digest == c.digest:
		return true
	case observed.Serial != "":
		return observed.Serial == c.leaf.SerialNumber.String()
	case !observed.Digest.IsZero():
		return false
	}
	return observed.NotAfter.Equal(c.leaf.NotAfter)
}
