package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/config"
	"github.com/anycert/anycert/reconcile"
)

// prefixed begins an argument of diff that is a prefix of the store.
const prefixed = "prefix:"

func (a *app) diffCommand() *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:   "diff ONE OTHER",
		Short: "Tell how two environments differ and change nothing",
		Long: `Tell which certificates, names, targets and versions of two environments differ.
Each of the two is one of

  prod.yaml      a configuration, by its path: what it declares, and what its store holds
  prod           an environment of your own file (see pull --env): what its store holds
  prefix:PATH    a prefix of the store that the configuration names, or VAULT_ADDR

No sink is asked, no key is read and nothing is changed; a token that may read metadata
is enough. Targets are compared where both are configurations: only those know them.
A version is a chain: the same chain under two numbers is no difference.

Exit code: 0 they are the same; 2 they differ; 1 it could not be told.`,
		Example: `  anycert diff prod.yaml staging.yaml
  anycert diff prod staging
  anycert diff prefix:anycert prefix:anycert-staging
  anycert diff prod staging -o json | jq '.certificates[] | select(.differs)'`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return fmt.Errorf("`%s` compares two: name two configurations, environments or prefixes: see `%[1]s --help`", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			var sides [2]side
			for i, arg := range args {
				opened, err := a.side(arg)
				if err != nil {
					return err
				}
				if session, ok := opened.store.(session); ok {
					defer a.close(session)
				}
				sides[i] = opened
			}
			report := compare(cmd.Context(), sides)
			if err := out.write(a.out, report, func() { report.text(a.out) }); err != nil {
				return err
			}
			return exit(report.code())
		},
	}
	out.flag(cmd)
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 1 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		names, _ := environmentNames(cmd, args, begun)
		return names, cobra.ShellCompDirectiveDefault
	}
	return cmd
}

// side is one of the two that are compared.
type side struct {
	name     string
	store    anycert.Store
	declared []anycert.Certificate // nil: what the store lists
	named    []string              // what is pulled from there; nil: what the store lists
	targets  map[string][]string   // by certificate; nil: this kind of side knows none
	unknown  []string              // sinks whose targets could not be told, and why
}

// side opens what an argument names. A configuration is known by its path: no name of an
// environment has a dot or a slash, and a file that happens to lie here must not decide
// whom the token is shown to.
func (a *app) side(arg string) (side, error) {
	options := config.Options{Version: version()}
	if prefix, ok := strings.CutPrefix(arg, prefixed); ok {
		if prefix == "" { // as of a variable of the shell that is not set
			return side{}, fmt.Errorf("diff: %s is empty: say which, as in %sanycert", prefixed, prefixed)
		}
		store, err := a.prefix(prefix, options)
		return side{name: arg, store: store}, err
	}
	if strings.ContainsAny(arg, "/.") {
		return configured(arg, options)
	}
	found, err := environment(arg)
	if err != nil {
		if _, missing := os.Lstat(arg); missing == nil {
			err = fmt.Errorf("%w; the file here is named ./%s", err, arg)
		}
		return side{}, fmt.Errorf("diff: %w", err)
	}
	store, err := found.Open(options)
	return side{name: arg, store: store, named: found.Certificates}, err
}

// configured is what a configuration declares. A sink that cannot be made on this
// machine, for want of its kubeconfig, leaves its own targets unknown.
func configured(path string, options config.Options) (side, error) {
	loaded, err := config.Load(path)
	if errors.Is(err, fs.ErrNotExist) {
		return side{}, fmt.Errorf("diff: %w: correct the path", err)
	}
	if err != nil {
		return side{}, err
	}
	store, err := config.OpenStore(loaded, options)
	if err != nil {
		return side{}, err
	}
	declared, targets, unknown := loaded.Targets(options)
	return side{name: path, store: store, declared: declared, targets: targets, unknown: unknown}, nil
}

// prefix is another part of the store that is named as for any verb.
func (a *app) prefix(prefix string, options config.Options) (anycert.Store, error) {
	path, err := a.path()
	if err != nil {
		store, err := config.PrefixFromEnvironment(prefix, options)
		if err != nil {
			return nil, fmt.Errorf("diff %s%s: there is no configuration, and the environment names no store: %w", prefixed, prefix, err)
		}
		return store, nil
	}
	loaded, err := load(path)
	if err != nil {
		return nil, err
	}
	at, err := loaded.Store.At(prefix)
	if err != nil {
		return nil, fmt.Errorf("diff: %w", err)
	}
	return config.OpenStore(&config.Config{Store: at}, options)
}

// difference is what diff tells. Its JSON is a promise to scripts.
type difference struct {
	Schema       int        `json:"schema"` // of this JSON, counts up when a field changes its meaning
	Time         time.Time  `json:"time"`
	Sides        [2]string  `json:"sides"`
	Certificates []compared `json:"certificates"`
	Unknown      []untold   `json:"unknown,omitempty"` // what could not be told
}

const differenceSchema = 1

// untold is something that one side did not tell.
type untold struct {
	Side string `json:"side"`
	Why  string `json:"why"`
}

// compared is one certificate at both sides; nil where a side does not have it.
type compared struct {
	Name    string    `json:"name"`
	Differs []string  `json:"differs,omitempty"` // certificate, names, targets, version
	Sides   [2]*shown `json:"sides"`
}

// shown is what one side says of a certificate.
type shown struct {
	Names    []string   `json:"names"`
	Targets  []string   `json:"targets,omitempty"`
	Version  int        `json:"version,omitempty"`
	NotAfter *time.Time `json:"not_after,omitempty"`
	Digest   string     `json:"digest,omitempty"`

	known bool // the store told, if only that it has none
}

// told reports whether a side told of a certificate what there is to compare.
func (s *shown) told() bool { return s != nil && s.known }

// code is the exit code: that something could not be told wins, as in an audit.
func (d *difference) code() int {
	if len(d.Unknown) > 0 {
		return reconcile.ExitFailed
	}
	for _, c := range d.Certificates {
		if len(c.Differs) > 0 {
			return reconcile.ExitDiffers
		}
	}
	return reconcile.ExitOK
}

// text shows people what differs, a line each.
func (d *difference) text(w io.Writer) {
	same := 0
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	head := fmt.Sprintf("CERTIFICATE\tDIFFERS\t%s\t%s\n", reconcile.Clean(d.Sides[0]), reconcile.Clean(d.Sides[1]))
	for _, c := range d.Certificates {
		if len(c.Differs) == 0 && c.Sides[0].told() && c.Sides[1].told() {
			same++
		}
		for _, what := range c.Differs {
			fmt.Fprint(table, head)
			head = ""
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", reconcile.Clean(c.Name), what, reconcile.Clean(c.Sides[0].say(what, c.Sides[1])), reconcile.Clean(c.Sides[1].say(what, c.Sides[0])))
		}
	}
	_ = table.Flush()
	for _, u := range d.Unknown {
		fmt.Fprintf(w, "%s: could not be told: %s\n", reconcile.Clean(u.Side), reconcile.Clean(u.Why))
	}
	for i, name := range d.Sides {
		if d.empty(i) {
			fmt.Fprintf(w, "%s has no certificates at all: is that the right one?\n", reconcile.Clean(name))
		}
	}
	fmt.Fprintf(w, "%s the same\n", count(same, "certificate"))
}

// empty reports whether a side was seen to have nothing of what the other has, as one has
// whose name was mistyped.
func (d *difference) empty(side int) bool {
	return len(d.Certificates) > 0 &&
		!slices.ContainsFunc(d.Certificates, func(c compared) bool { return c.Sides[side] != nil }) &&
		!slices.ContainsFunc(d.Unknown, func(u untold) bool { return u.Side == d.Sides[side] })
}

// say is one of the things that can differ, for people; other is the other side.
func (s *shown) say(what string, other *shown) string {
	switch {
	case s == nil:
		return "-"
	case what == differsName:
		return "has it"
	case what == differsNames:
		return beside(s.Names, other.Names)
	case what == differsTargets:
		return orDash(beside(s.Targets, other.Targets))
	case s.Version == 0:
		return "none yet"
	}
	digest := s.Digest[:min(len(s.Digest), len("sha256:")+12)]
	return fmt.Sprintf("version %d, expires %s, %s…", s.Version, s.NotAfter.Format("2006-01-02 15:04Z"), digest)
}

// beside is a list for people who compare it with another one. Of long ones only that is
// told which the other has not.
func beside(list, other []string) string {
	const few = 3
	if max(len(list), len(other)) <= few {
		return strings.Join(list, ", ")
	}
	own := slices.DeleteFunc(slices.Clone(list), func(one string) bool { return slices.Contains(other, one) })
	if both := len(list) - len(own); both > 0 {
		own = append(own, fmt.Sprintf("%d that both have", both))
	}
	return strings.Join(own, ", ")
}

// compare asks both stores at once.
func compare(ctx context.Context, sides [2]side) *difference {
	d := &difference{Schema: differenceSchema, Time: time.Now().UTC(), Certificates: []compared{}, Sides: [2]string{sides[0].name, sides[1].name}}
	seen := looks(ctx, sides)
	for i, l := range seen {
		for _, why := range append(sides[i].unknown, l.unknown...) {
			d.Unknown = append(d.Unknown, untold{sides[i].name, why})
		}
	}
	for _, name := range union(seen[0].certificates, seen[1].certificates) {
		one := compared{Name: name, Sides: [2]*shown{seen[0].certificates[name], seen[1].certificates[name]}}
		if !(one.Sides[0] == nil && seen[0].unlisted) && !(one.Sides[1] == nil && seen[1].unlisted) {
			one.Differs = differs(one.Sides, sides[0].targets != nil && sides[1].targets != nil)
		}
		d.Certificates = append(d.Certificates, one)
	}
	return d
}
