package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/reconcile"
)

// renewal is `anycert renew` with its flags.
type renewal struct {
	*app
	out output

	all       bool
	issuer    string
	rotateKey bool
	reason    string
	deadline  time.Duration
	since     string
	dryRun    bool
	timeout   time.Duration

	bounded bool // --deadline was given
}

func (a *app) renewCommand() *cobra.Command {
	r := &renewal{app: a}
	cmd := &cobra.Command{
		Use:   "renew {NAME… | --all}",
		Short: "Replace certificates now, and see them served everywhere",
		Long: `Ask for other certificates in the place of those that there are: obtain them, the
most urgent first and as the CA's limits allow, push them, and look until every place
serves them. What is asked for is kept in the store: a running daemon works on it as
well, and goes on when this ends. The same command again goes on where it was.

--reason compromised is for a key that others know. A new key is put everywhere first.
When every place was seen to serve it, or at the deadline, every certificate with the
old key is revoked, and every version in the store that holds it is destroyed. A place
that this process cannot see, or that is suspended, holds that back until the deadline.
--reason superseded revokes as well, and destroys nothing.

--dry-run shows the order of work and the time that the CA's limits will make it take.
It asks nothing of the CA and writes nothing.

Exit code: 0 all are renewed and served, and what was to be revoked is; 1 otherwise.`,
		Example: `  anycert renew example
  anycert renew --all --dry-run
  anycert renew --all --issuer letsencrypt --timeout 6h
  anycert renew example --reason compromised --deadline 1h`,
		ValidArgsFunction: a.certificateNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			r.bounded = cmd.Flags().Changed("deadline")
			return r.run(cmd.Context(), args)
		},
	}
	r.out.flag(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&r.all, "all", false, "every certificate that is obtained here and not suspended")
	flags.StringVar(&r.issuer, "issuer", "", "with --all: those that issuer `NAME` has issued; where that is not known, those for which it is asked first")
	flags.BoolVar(&r.rotateKey, "rotate-key", false, "make a new key also where keys are reused")
	flags.StringVar(&r.reason, "reason", "", "revoke the old certificate in the end, for this `reason`: compromised, superseded")
	flags.DurationVar(&r.deadline, "deadline", 24*time.Hour, "with --reason: revoke after this time although not every place was seen to serve the new one")
	flags.StringVar(&r.since, "since", "", "do not replace what was obtained after this `time` (2006-01-02T15:04:05Z)")
	flags.BoolVar(&r.dryRun, "dry-run", false, "show the order of work and what the CA's limits make it take; do nothing")
	flags.DurationVar(&r.timeout, "timeout", time.Hour, "how long to work and wait before the rest is left to the daemon; 0s: for ever")
	_ = cmd.RegisterFlagCompletionFunc("reason", words("compromised", "superseded"))
	_ = cmd.RegisterFlagCompletionFunc("issuer", a.issuerNames)
	return cmd
}

// issuerNames completes names of issuers.
func (a *app) issuerNames(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var names []string
	for _, issuer := range a.declared().Issuers {
		names = append(names, issuer.Name())
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func (r *renewal) run(ctx context.Context, names []string) error {
	request, since, err := r.request(names)
	if err != nil {
		return err
	}
	show := r.progress()
	defer show.end()
	log, err := r.logger()
	if err != nil {
		return err
	}
	graph, err := r.open()
	if err != nil {
		return err
	}
	defer r.close(graph)
	for _, warning := range graph.Warnings {
		log.Warn(warning)
	}
	certificates, err := r.choose(ctx, graph, names)
	if err != nil {
		return fmt.Errorf("%w; nothing was asked for", err)
	}
	hub := reconcile.New(graph.Parts(), log)
	asked, err := hub.Ask(ctx, certificates, request, since, r.dryRun)
	if err != nil {
		return fmt.Errorf("%w; nothing was asked for", err)
	}
	if r.dryRun {
		return r.rehearse(ctx, hub, asked)
	}
	return r.work(ctx, hub, asked, show)
}

// request is what the flags ask for, but for the version.
func (r *renewal) request(names []string) (request anycert.Request, since time.Time, err error) {
	if err := r.out.check(); err != nil {
		return request, since, err
	}
	switch {
	case r.all && len(names) > 0:
		return request, since, errors.New("name certificates, or use --all: not both")
	case !r.all && len(names) == 0:
		return request, since, errors.New("name the certificates to be renewed, or use --all: see `anycert renew --help`")
	case r.issuer != "" && !r.all:
		return request, since, errors.New("--issuer narrows --all: use both, or name certificates")
	case r.bounded && r.reason == "":
		return request, since, errors.New("--deadline is when the old certificate is revoked: say why with --reason, or leave it out")
	case r.timeout < 0:
		return request, since, fmt.Errorf("--timeout %s is no time to work in: use more, or 0s for as long as it takes", r.timeout)
	case r.deadline < 0:
		return request, since, fmt.Errorf("--deadline %s lies in the past: use 0s for at once", r.deadline)
	}
	if r.since != "" {
		if since, err = time.Parse(time.RFC3339, r.since); err != nil {
			return request, since, fmt.Errorf("--since %q is no time: write it like 2026-01-02T15:04:05Z", r.since)
		}
	}
	now := time.Now().UTC().Truncate(time.Second)
	if since.After(now) {
		return request, since, fmt.Errorf("--since %s has not come yet: use the time that the first command told", r.since)
	}
	request = anycert.Request{Time: now, By: whoami(), RotateKey: r.rotateKey}
	switch r.reason {
	case "":
		return request, since, nil
	case "compromised":
		request.Compromised = true
	case "superseded":
		request.Superseded = true
	default:
		return request, since, fmt.Errorf("--reason %q: use compromised or superseded; to revoke for another reason, `anycert revoke`", r.reason)
	}
	request.Deadline = now.Add(r.deadline)
	return request, since, nil
}

// rehearse shows what would be done.
func (r *renewal) rehearse(ctx context.Context, hub *reconcile.Hub, asked []reconcile.Asked) error {
	todo := slices.DeleteFunc(slices.Clone(asked), func(a reconcile.Asked) bool { return a.Before })
	turns, err := hub.Rehearse(ctx, todo)
	if err != nil {
		return err
	}
	if r.out.format == "json" {
		return r.encode(rehearsed{renewalSchema, turns})
	}
	reconcile.WriteTurns(r.app.out, turns, time.Now())
	if before := len(asked) - len(turns); before > 0 {
		fmt.Fprintf(r.app.out, "renewed already, and only looked after: %d\n", before)
	}
	if len(turns) > 0 {
		fmt.Fprintln(r.app.out, "nothing was asked for: leave out --dry-run to do it")
	}
	return nil
}

// renewalSchema is the form of the JSON.
const renewalSchema = 1

// rehearsed is what `renew --dry-run` shows to machines.
type rehearsed struct {
	Schema int              `json:"schema"`
	Plan   []reconcile.Turn `json:"plan"`
}

// renewed is what `renew` shows to machines.
type renewed struct {
	Schema       int                 `json:"schema"`
	Since        time.Time           `json:"since"` // for --since
	Certificates []reconcile.Renewed `json:"certificates"`
}

// work asks for it and sees it through.
func (r *renewal) work(ctx context.Context, hub *reconcile.Hub, asked []reconcile.Asked, show *progress) error {
	if err := hub.Keep(ctx, asked); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("interrupted (%w) while it was being asked for: run it again", context.Cause(ctx))
		}
		return fmt.Errorf("%w; run it again: what was asked for already is not asked for twice", err)
	}
	all := hub.Renew(ctx, asked, r.timeout, show.told)
	show.end()
	if r.out.format == "json" {
		if err := r.encode(renewed{renewalSchema, asked[0].Request.Begun.UTC(), all}); err != nil {
			return err
		}
	} else {
		reconcile.WriteRenewed(r.app.out, all)
	}
	again := left(all, asked[0].Request.Begun)
	switch {
	case again == "":
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("interrupted (%w): %s", context.Cause(ctx), again)
	}
	fmt.Fprintln(r.errOut, "anycert: not all is done: "+again)
	return exit(reconcile.ExitFailed)
}

// left says who does what is left to be done of a command that was given at begun; empty
// when nothing is. What is settled with a problem is nobody's any more but a person's: the
// request is gone, and another command would begin anew.
func left(all []reconcile.Renewed, begun time.Time) string {
	switch {
	case reconcile.AllDone(all):
		return ""
	case !slices.ContainsFunc(all, func(r reconcile.Renewed) bool { return !r.Done() }):
		return "what is left only a person can do, see above: the same command would replace it once more"
	}
	return fmt.Sprintf("a running daemon goes on with what is left, and so does the same command; once that is done, add --since %s, so that nothing is replaced twice",
		begun.UTC().Format(time.RFC3339))
}

func (r *renewal) encode(value any) error {
	encoder := json.NewEncoder(r.app.out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}
