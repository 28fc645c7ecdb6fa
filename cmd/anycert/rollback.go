package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/config"
)

func (a *app) rollbackCommand() *cobra.Command {
	var to int
	cmd := &cobra.Command{
		Use:   "rollback NAME --to N",
		Short: "Write an older version of a certificate as the newest, so that every place follows",
		Long: `Write the version N of the certificate NAME, with its key, into the store once more,
as the newest version. Every place follows in the next pass, as with any new version.
What versions there are, ` + "`anycert history`" + ` shows.

Refused is what must not be served: a version that has expired, does not cover the
declared names, was deleted, destroyed or revoked, is to be revoked once it is
replaced, or has a key that somebody reported as known to others. What was revoked at
the CA by other means than anycert is not known here. When the current version is the
same certificate, nothing is written.

The issuer is not stopped by it: it renews the older version when its time comes, and
that may be at once; it is said when.

Exit code: 0 the version is the current one; 1 it is not.`,
		Example: `  anycert history example
  anycert rollback example --to 3 && anycert sync`,
		Args: oneCertificate,
		RunE: func(cmd *cobra.Command, args []string) error {
			if to < 1 {
				return errors.New("rollback: it is not said to which version: use --to N, with a version that `anycert history` shows")
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), storeTimeout)
			defer cancel()
			if err := a.rollback(ctx, args[0], to); err != nil {
				return fmt.Errorf("rollback: %w", err)
			}
			return nil
		},
	}
	cmd.Flags().IntVar(&to, "to", 0, "`version` to go back to")
	_ = cmd.RegisterFlagCompletionFunc("to", cobra.NoFileCompletions)
	cmd.ValidArgsFunction = a.certificateNames
	return cmd
}

// rollback looks, checks and writes, in this order.
func (a *app) rollback(ctx context.Context, name string, to int) error {
	graph, declared, err := a.graphFor(name)
	if err != nil {
		return err
	}
	defer a.close(graph)
	current, damage, err := lookInto(ctx, graph.Store, name)
	switch {
	case errors.Is(err, anycert.ErrDeleted) && current.Version > 0, damage != nil: // what is there is no better
	case err != nil:
		return err
	}
	old, origin, err := older(ctx, graph, declared, current, to)
	if err != nil {
		return fmt.Errorf("certificate %s: %w", name, err)
	}
	if current.Digest == old.Digest() {
		a.say("%s: version %d is the current one already: nothing was written", name, current.Version)
		return nil
	}
	entry, err := graph.Store.Put(ctx, name, current.Version, old, origin.RolledBack(whoami(), to))
	if errors.Is(err, anycert.ErrConflict) {
		return fmt.Errorf("%w, so nothing was written: see what is there now (anycert history %s), and run it again", err, name)
	}
	if err != nil {
		return err
	}
	a.say("%s: version %d in the store, which is version %d again", name, entry.Version, to)
	a.say("  for %s, until %s", strings.Join(entry.Leaf.DNSNames, " "), stamp(entry.Leaf.NotAfter))
	if declared.Suspended {
		a.say("  it is suspended, so no place follows until that is taken back")
	} else {
		a.say("  every place follows in the next pass; `anycert sync` does one now")
	}
	a.sayRenewal(ctx, graph, declared, entry)
	return nil
}

// graphFor opens the configuration for one certificate that it declares. The caller
// closes the graph.
func (a *app) graphFor(name string) (*config.Graph, anycert.Certificate, error) {
	path, loaded, err := a.configuration()
	if err != nil {
		return nil, anycert.Certificate{}, err
	}
	declared, ok := loaded.Certificate(name)
	if !ok {
		return nil, anycert.Certificate{}, undeclaredError(path, loaded, name)
	}
	graph, err := config.Open(loaded, config.Options{Version: version()})
	return graph, declared, err
}

// older reads a version that may be served again, and says how it was obtained.
func older(ctx context.Context, graph *config.Graph, declared anycert.Certificate, current anycert.Entry, version int) (*anycert.Bundle, anycert.Origin, error) {
	past, err := versionOf(ctx, graph.Store, declared.Name, version)
	switch {
	case err != nil:
		return nil, anycert.Origin{}, err
	case past.Destroyed:
		return nil, anycert.Origin{}, fmt.Errorf("version %d was destroyed: what it held is gone", version)
	case past.Deleted:
		return nil, anycert.Origin{}, fmt.Errorf("version %d was deleted: ask why; `vault kv undelete` brings it back", version)
	case past.Revoked != nil:
		return nil, anycert.Origin{}, fmt.Errorf("version %d was revoked (%s): clients that check revocation refuse it: choose another, which `anycert history %s` shows",
			version, revocationWords(past.Revoked), declared.Name)
	}
	if err := unwanted(ctx, graph, declared, version); err != nil {
		return nil, anycert.Origin{}, err
	}
	bundle, err := graph.Store.Get(ctx, declared.Name, version)
	if err != nil {
		return nil, anycert.Origin{}, err
	}
	if version != current.Version {
		if err := anycert.Check(bundle.Leaf(), declared.Domains, time.Now()); err != nil {
			return nil, anycert.Origin{}, fmt.Errorf("version %d is %w", version, err)
		}
	}
	return bundle, past.Origin, nil
}

// versionOf finds one version in the history of a certificate.
func versionOf(ctx context.Context, store anycert.Store, name string, version int) (anycert.Past, error) {
	all, err := pastOf(ctx, store, name)
	if err != nil {
		return anycert.Past{}, err
	}
	if len(all) == 0 {
		return anycert.Past{}, anycert.ErrNotFound
	}
	at := slices.IndexFunc(all, func(p anycert.Past) bool { return p.Version == version })
	if at < 0 {
		return anycert.Past{}, fmt.Errorf("the store has no version %d: it has %d to %d", version, all[len(all)-1].Version, all[0].Version)
	}
	return all[at], nil
}

// unwanted refuses a version that somebody wants to be revoked, be it since its key is
// known to others. In that case the version is destroyed in the end, and refused for that.
func unwanted(ctx context.Context, graph *config.Graph, declared anycert.Certificate, version int) error {
	requester, ok := graph.Issuer.(anycert.Requester)
	if !ok {
		return nil // nobody could have
	}
	asked, err := graph.Records.Keys(ctx, anycert.KindRequest)
	if err == nil && slices.Contains(asked, declared.Name) {
		err = graph.Issuer.Recall(ctx, []anycert.Wanted{{Certificate: declared}}, false)
	}
	request, known := requester.Requests()[declared.Name]
	if err != nil && !known {
		return fmt.Errorf("it could not be read whether its key is known to others: %w", err)
	}
	switch {
	case version > request.Version:
	case request.Compromised:
		return fmt.Errorf("the key of version %d is known to others, as %s said at %s, and versions before it may have it as well: `anycert renew %s` goes on with its replacement",
			request.Version, orDash(request.By), stamp(request.Time), declared.Name)
	case request.Superseded && version == request.Version:
		return fmt.Errorf("version %d is to be revoked, as %s asked for at %s: `anycert renew %s` goes on with its replacement",
			version, orDash(request.By), stamp(request.Time), declared.Name)
	}
	return nil
}

// sayRenewal says what the issuer does next about what was put into the store by hand.
func (a *app) sayRenewal(ctx context.Context, graph *config.Graph, declared anycert.Certificate, entry anycert.Entry) {
	if graph.Issuer == nil || declared.Issuer == "" {
		return
	}
	now := time.Now()
	_ = graph.Issuer.Recall(ctx, []anycert.Wanted{{Certificate: declared, Entry: &entry}}, false) // without it by the lifetime alone
	renewal := graph.Issuer.Renewal(declared, &entry, now)
	switch {
	case renewal.Due(now):
		a.say("  issuer %s obtains the next one in its next pass: %s; to keep this one for longer, take the issuer from the certificate in the configuration for that time", declared.Issuer, renewal.Reason)
	case !renewal.At.IsZero():
		a.say("  issuer %s obtains the next one at %s: %s", declared.Issuer, stamp(renewal.At), renewal.Reason)
	}
}
