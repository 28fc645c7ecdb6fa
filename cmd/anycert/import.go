package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/config"
	"github.com/anycert/anycert/internal/config/strict"
	"github.com/anycert/anycert/issuer"
	"github.com/anycert/anycert/reconcile"
)

// importTimeout bounds all that import asks for.
const importTimeout = time.Minute

func (a *app) importCommand() *cobra.Command {
	var from origin
	var replace bool
	cmd := &cobra.Command{
		Use:   "import NAME",
		Short: "Bring a certificate that a cluster or a disk holds into the store",
		Long: `Bring the certificate and key that a Secret of a cluster, or a pair of files, holds
into the store, as the next version of the certificate NAME, which the configuration
declares. No order is made, now or because of it: it is renewed when its time comes.
What it came from is only read. The places of the sinks get it from the next pass.

--from takes

  kubernetes://CONTEXT/NAMESPACE/SECRET  with KUBECONFIG or ~/.kube/config; without
                                         CONTEXT the current one: kubernetes:///web/tls
  file:///DIRECTORY                      with fullchain.pem and privkey.pem, as certbot
                                         and our own file sink keep them

--cert without --key takes the certificate that came for the request of ` + "`anycert csr`" + `:
its key waits in the store. What the store has is then replaced without more words.

What could not be served is not imported: certificate and key must belong together,
and be valid, for all names that are declared. Nor is what the issuer of NAME would
order anew at once: the error says what to declare instead. What the store has is
replaced only with --replace, unless it must not be served any more. When the store
has the same, nothing is written.

Exit code: 0 the store has it; 1 it does not.`,
		Example: `  anycert import example --from kubernetes://old/web/example-tls
  anycert import example --from file:///etc/letsencrypt/live/example.com
  anycert import example --cert .lego/certificates/example.com.crt --key .lego/certificates/example.com.key
  anycert import shop --cert shop.crt    # for the request that anycert csr made`,
		Args: oneCertificate,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), importTimeout)
			defer cancel()
			if err := a.bring(ctx, args[0], from, replace); err != nil {
				return fmt.Errorf("import: %w", err)
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&from.url, "from", "", "where it is, a `URL`")
	flags.StringVar(&from.certificate, "cert", "", "`file` with the certificate and its chain, PEM")
	flags.StringVar(&from.key, "key", "", "`file` with the private key, PEM; left out for a request of csr")
	flags.BoolVar(&replace, "replace", false, "replace what the store has, also a newer one, a deleted one or one that cannot be read")
	_ = cmd.MarkFlagFilename("cert")
	_ = cmd.MarkFlagFilename("key")
	cmd.ValidArgsFunction = a.certificateNames
	return cmd
}

// bring reads, checks and writes, in this order.
func (a *app) bring(ctx context.Context, name string, from origin, replace bool) error {
	path, loaded, err := a.configuration()
	if err != nil {
		return err
	}
	declared, ok := loaded.Certificate(name)
	if !ok {
		return undeclaredError(path, loaded, name)
	}
	store, err := config.OpenStore(loaded, config.Options{Version: version()})
	if err != nil {
		return err
	}
	if opened, ok := store.(session); ok {
		defer a.close(opened)
	}
	var bundle *anycert.Bundle
	var waiting issuer.Waiting
	where := from.certificate
	if from.completes() {
		bundle, waiting, err = complete(ctx, store, declared, from.certificate)
		if errors.Is(err, errNothingWaits) {
			if version := completed(ctx, store, name, from.certificate); version > 0 { // by the same command
				a.sayThere(name, version)
				return nil
			}
		}
	} else {
		bundle, where, err = from.read(ctx, name)
	}
	if err != nil {
		return fmt.Errorf("certificate %s: %w", name, err)
	}
	now := time.Now()
	renewal, err := importable(loaded, declared, bundle, now)
	if err != nil {
		return fmt.Errorf("certificate %s from %s: %w", name, where, err)
	}
	number, wrote, err := put(ctx, store, declared, bundle, replace || from.completes())
	if err == nil && from.completes() {
		err = ended(ctx, store, waiting, name)
	}
	switch {
	case err != nil:
		return fmt.Errorf("certificate %s: %w", name, err)
	case !wrote:
		a.sayThere(name, number)
		return nil
	}
	a.say("%s: version %d in the store, from %s", name, number, where)
	a.say("  for %s, until %s", strings.Join(bundle.Leaf().DNSNames, " "), stamp(bundle.Leaf().NotAfter))
	if renewal.Due(now) {
		a.say("  issuer %s obtains the next one in its next pass: %s", declared.Issuer, renewal.Reason)
	} else if !renewal.At.IsZero() {
		a.say("  issuer %s obtains the next one at %s: %s", declared.Issuer, stamp(renewal.At), renewal.Reason)
	}
	return nil
}

func (a *app) sayThere(name string, version int) {
	a.say("%s: the store has it already, as version %d: nothing was written", name, version)
}

func (a *app) say(format string, args ...any) {
	fmt.Fprintln(a.out, reconcile.Clean(fmt.Sprintf(format, args...)))
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04Z") }

// undeclaredError says what is declared, and how a certificate is.
func undeclaredError(path string, loaded *config.Config, name string) error {
	if err := anycert.CheckName(name); err != nil {
		return err
	}
	var known []string
	for _, c := range loaded.Certificates {
		known = append(known, c.Name)
	}
	if strict.Nearest(name, known) != "" {
		return fmt.Errorf("%s declares no certificate %s%s", path, name, instead(name, known))
	}
	return fmt.Errorf("%s declares no certificate %s; there %s: declare it first, under certificates, as in {name: %s, domains: [example.com]}",
		path, name, enumerate(known), name)
}

// importable tells when the declared certificate is renewed once bundle is in the
// store. It fails when bundle must not be served, and when its issuer would order
// another one at once, since it is not what is declared.
func importable(loaded *config.Config, declared anycert.Certificate, bundle *anycert.Bundle, now time.Time) (anycert.Renewal, error) {
	leaf := bundle.Leaf()
	if err := anycert.Check(leaf, declared.Domains, now); err != nil {
		return anycert.Renewal{}, err
	}
	renewal := loaded.Renewal(declared, leaf, now)
	if !renewal.At.Equal(now) { // what is due by its lifetime was so before
		return renewal, nil
	}
	kind, err := anycert.KeyTypeOf(leaf.PublicKey)
	if err != nil {
		return anycert.Renewal{}, err
	}
	return anycert.Renewal{}, fmt.Errorf("it is not what is declared, and issuer %s would order another one at once (%s): declare what it is, domains: [%s] and key_type: %s, and import it then",
		declared.Issuer, renewal.Reason, quoted(leaf.DNSNames), kind)
}

// quoted is a list of domains as it is written in YAML.
func quoted(domains []string) string {
	var all []string
	for _, domain := range domains {
		if strings.HasPrefix(domain, "*") {
			domain = `"` + domain + `"`
		}
		all = append(all, domain)
	}
	return strings.Join(all, ", ")
}

// lookInto tells what the store has, also where a person wrote it. When that is no
// certificate with its key, damage says so, and current has the version alone.
func lookInto(ctx context.Context, store anycert.Store, name string) (current anycert.Entry, damage, err error) {
	current, err = store.Stat(ctx, name)
	if !errors.Is(err, anycert.ErrUnindexed) {
		return current, nil, err
	}
	indexed, err := store.Index(ctx, name)
	if errors.Is(err, anycert.ErrMalformed) && current.Version > 0 {
		return current, err, nil
	}
	return indexed, nil, err
}

// put writes bundle as the next version, unless the store has it already. It is what a
// person put there: they, and no issuer, are named as its origin.
func put(ctx context.Context, store anycert.Store, declared anycert.Certificate, bundle *anycert.Bundle, replace bool) (version int, wrote bool, err error) {
	current, damage, err := lookInto(ctx, store, declared.Name)
	switch {
	case errors.Is(err, anycert.ErrNotFound):
	case damage != nil:
		if !replace {
			return 0, false, fmt.Errorf("%w: that is version %d in the store, and nobody can use it: to write a good one over it, say --replace", damage, current.Version)
		}
	case errors.Is(err, anycert.ErrDeleted) && current.Version > 0:
		if !replace {
			return 0, false, fmt.Errorf("%w: somebody deleted version %d: ask why, then write the next one with --replace", anycert.ErrDeleted, current.Version)
		}
	case err != nil:
		return 0, false, err
	case current.Digest == bundle.Digest():
		return current.Version, false, nil
	case !replace && anycert.Check(current.Leaf, declared.Domains, time.Now()) == nil:
		return 0, false, fmt.Errorf("the store has another one, version %d, valid from %s until %s; this one is valid from %s until %s: to replace it, say --replace",
			current.Version, stamp(current.Leaf.NotBefore), stamp(current.Leaf.NotAfter), stamp(bundle.Leaf().NotBefore), stamp(bundle.Leaf().NotAfter))
	}
	entry, err := store.Put(ctx, declared.Name, current.Version, bundle, anycert.Origin{By: whoami() + ": import"})
	if errors.Is(err, anycert.ErrConflict) {
		err = fmt.Errorf("%w, so nothing was written: see what is there now (anycert status), and run it again", err)
	}
	return entry.Version, err == nil, err
}
