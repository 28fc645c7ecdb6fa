package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/config"
	"github.com/anycert/anycert/reconcile"
)

// storeTimeout bounds what a verb asks of the store for a person who waits.
const storeTimeout = time.Minute

func (a *app) historyCommand() *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:   "history NAME",
		Short: "Show the versions of a certificate that the store has, and who wrote them",
		Long: `Show the versions of the certificate NAME that the store has, the newest first: when
each was written and by whom, until when it is valid, its digest, and whether it was
deleted, destroyed, or revoked by anycert, and who asked for that. No key is read; a
token that may read metadata alone is enough.

Of a version that somebody wrote past anycert, and wrote over before a pass looked at
it, the store knows the number and the time alone.

Exit code: 0 it was shown; 1 it could not be read.`,
		Example: `  anycert history example
  anycert history example -o json | jq -r '.versions[] | [.version, .by, .not_after] | @tsv'`,
		Args: oneCertificate,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), storeTimeout)
			defer cancel()
			history, err := a.history(ctx, args[0])
			if err != nil {
				return fmt.Errorf("history: %w", err)
			}
			return out.write(a.out, history, func() { history.write(a.out, time.Now()) })
		},
	}
	out.flag(cmd)
	cmd.ValidArgsFunction = a.certificateNames
	return cmd
}

// oneCertificate is for verbs that take the name of one.
func oneCertificate(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("`%s` takes the name of one certificate: see `%[1]s --help`", cmd.CommandPath())
	}
	return nil
}

// history reads the versions of a certificate, also of one that is no longer declared.
func (a *app) history(ctx context.Context, name string) (*history, error) {
	path, loaded, err := a.configuration()
	if err != nil {
		return nil, err
	}
	store, err := config.OpenStore(loaded, config.Options{Version: version()})
	if err != nil {
		return nil, err
	}
	if opened, ok := store.(session); ok {
		defer a.close(opened)
	}
	all, err := pastOf(ctx, store, name)
	_, declared := loaded.Certificate(name)
	switch {
	case (errors.Is(err, anycert.ErrNotFound) || err == nil && len(all) == 0) && !declared:
		return nil, undeclaredError(path, loaded, name)
	case errors.Is(err, anycert.ErrNotFound), err == nil && len(all) == 0:
		return nil, fmt.Errorf("certificate %s: nothing was ever put into the store under this name: see `anycert status`", name)
	case err != nil:
		return nil, err
	}
	return historyOf(name, all), nil
}

// historianOf is the power of a store to tell the past.
func historianOf(store anycert.Store) (anycert.Historian, error) {
	historian, ok := store.(anycert.Historian)
	if !ok {
		return nil, errors.New("this store keeps no versions")
	}
	return historian, nil
}

// pastOf is the history of a certificate. What was revoked under one version is the same
// certificate under another.
func pastOf(ctx context.Context, store anycert.Store, name string) ([]anycert.Past, error) {
	historian, err := historianOf(store)
	if err != nil {
		return nil, err
	}
	all, err := historian.History(ctx, name)
	revoked := map[anycert.Digest]*anycert.Revocation{}
	for _, p := range all {
		if p.Revoked != nil && !p.Digest.IsZero() {
			revoked[p.Digest] = p.Revoked
		}
	}
	for i, p := range all {
		if p.Revoked == nil {
			all[i].Revoked = revoked[p.Digest]
		}
	}
	return all, err
}

// historySchema is the form of the JSON.
const historySchema = 1

// history is what `history` shows, also to machines.
type history struct {
	Schema      int           `json:"schema"`
	Certificate string        `json:"certificate"`
	Versions    []pastVersion `json:"versions"`
}

type pastVersion struct {
	Version   int            `json:"version"`
	Current   bool           `json:"current,omitempty"`
	Time      time.Time      `json:"time"`
	Digest    anycert.Digest `json:"digest,omitzero"`
	NotBefore time.Time      `json:"not_before,omitzero"`
	NotAfter  time.Time      `json:"not_after,omitzero"`
	anycert.Origin
	Deleted   bool                `json:"deleted,omitempty"`
	Destroyed bool                `json:"destroyed,omitempty"`
	Revoked   *anycert.Revocation `json:"revoked,omitempty"`
}

func historyOf(name string, all []anycert.Past) *history {
	h := &history{Schema: historySchema, Certificate: name}
	for i, p := range all {
		h.Versions = append(h.Versions, pastVersion{
			Version: p.Version, Current: i == 0, Time: p.Time, Digest: p.Digest, NotBefore: p.NotBefore, NotAfter: p.NotAfter,
			Origin: p.Origin, Deleted: p.Deleted, Destroyed: p.Destroyed, Revoked: p.Revoked,
		})
	}
	return h
}

// write shows it to people. What was revoked has a column where there is any.
func (h *history) write(w io.Writer, now time.Time) {
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	heads := []string{"VERSION", "WRITTEN", "EXPIRES", "DIGEST", "BY"}
	revoked := slices.ContainsFunc(h.Versions, func(v pastVersion) bool { return v.Revoked != nil })
	if revoked {
		heads = append(heads, "REVOKED")
	}
	fmt.Fprintln(table, strings.Join(heads, "\t"))
	for _, v := range h.Versions {
		digest := v.Digest.String()
		cells := []string{fmt.Sprintf("%d%s", v.Version, v.state()), stamp(v.Time), v.expires(now), orDash(digest[:min(len(digest), 19)]), reconcile.Clean(v.by())}
		if revoked {
			cells = append(cells, reconcile.Clean(orDash(revocationWords(v.Revoked))))
		}
		fmt.Fprintln(table, strings.Join(cells, "\t"))
	}
	_ = table.Flush()
}

// revocationWords say why, who asked for it and when; nothing of none.
func revocationWords(r *anycert.Revocation) string {
	if r == nil {
		return ""
	}
	return fmt.Sprintf("%s, asked for by %s at %s", r.Reason, orDash(r.By), stamp(r.Time))
}

func (v pastVersion) state() string {
	var states []string
	for _, s := range []struct {
		is   bool
		name string
	}{{v.Current, "current"}, {v.Deleted, "deleted"}, {v.Destroyed, "destroyed"}, {v.Revoked != nil, "revoked"}} {
		if s.is {
			states = append(states, s.name)
		}
	}
	if len(states) == 0 {
		return ""
	}
	return " (" + strings.Join(states, ", ") + ")"
}

func (v pastVersion) expires(now time.Time) string {
	switch {
	case v.NotAfter.IsZero():
		return "-"
	case now.After(v.NotAfter):
		return stamp(v.NotAfter) + " (expired)"
	}
	return stamp(v.NotAfter)
}

// by is who wrote it, and which issuer it is from where that is somebody else.
func (v pastVersion) by() string {
	switch {
	case v.By != "" && v.Issuer != "":
		return v.By + " (of issuer " + v.Issuer + ")"
	case v.By != "":
		return v.By
	case v.Issuer != "":
		return "issuer " + v.Issuer
	case v.Digest.IsZero():
		return "by hand, or an older anycert"
	}
	return "by hand"
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
