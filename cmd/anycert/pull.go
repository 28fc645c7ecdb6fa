package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/config"
	"github.com/anycert/anycert/reconcile"
	"github.com/anycert/anycert/sinks/file"
)

// puller is the owner in the marks of pulled files: nobody's hub.
const puller = "pull"

// pulling is what one `anycert pull` is to do.
type pulling struct {
	dir       string
	names     []string // asked for by name
	env       string
	check     bool
	templates []string
	beside    string // directory for what is rendered; empty: that of each template
}

func (a *app) pullCommand() *cobra.Command {
	var p pulling
	cmd := &cobra.Command{
		Use:   "pull [NAME...]",
		Short: "Bring certificates from the store into local files",
		Long: `Bring certificates from the store into local files, in the layout of the file sink:
DIR/NAME/fullchain.pem, privkey.pem, cert.pem, chain.pem, combined.pem. Without names,
every certificate that the environment or the configuration declares, or that the
store lists and your token may read.

Where the store is says --env: an environment of your own file, environments.yaml in
the directory anycert of your configuration directory (~/.config on Linux). Without
it, the configuration, of which the store alone is used; without that, VAULT_ADDR,
VAULT_TOKEN or ~/.vault-token, VAULT_CACERT and VAULT_NAMESPACE. Never a sink, never a
reload. Files that anycert did not put there are refused, and so is a git work tree
that does not ignore them.

With --template, files such as nginx.conf or .env are rendered as well, from the paths
of the certificates and from fields of Vault that your token may read. FILE ends in
.tmpl; what is made lies beside it without that, with mode 0600:

  ssl_certificate {{ (certificate "example").fullchain }};
  PASSWORD={{ secret "secret/site/db#password" }}

With --check, nothing is changed: what is behind is listed.

Exit code: 0 everything is there; 1 something that was asked for is not, or could not
be told; 2 --check found something behind. What your token may not read is a failure
only when it was asked for by name: here, in the environment or in a template.`,
		Example: `  anycert pull --dir ./certs example
  VAULT_ADDR=https://vault.example.com anycert pull --dir ./certs
  anycert pull --config prod.yaml
  anycert pull --env prod --template nginx.conf.tmpl --template .env.tmpl
  anycert pull --env prod --check`,
		RunE: func(cmd *cobra.Command, names []string) error {
			p.names = names
			for _, name := range []string{"env", "dir", "out"} { // as of a variable of the shell that is not set
				if flag := cmd.Flag(name); flag.Changed && flag.Value.String() == "" {
					return fmt.Errorf("pull: --%s is empty: say which, or leave it out", name)
				}
			}
			if p.env != "" && cmd.Flags().Changed("config") {
				return errors.New("pull: --env and --config both say where the store is: use one of them")
			}
			if !cmd.Flags().Changed("dir") {
				p.dir = ""
			}
			return a.pull(cmd.Context(), p)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&p.dir, "dir", "certs", "`directory` to write to; default: that of the environment, or certs")
	flags.StringVar(&p.env, "env", "", "`environment` of your own file to pull from")
	flags.BoolVar(&p.check, "check", false, "change nothing, and tell what is behind")
	flags.StringArrayVar(&p.templates, "template", nil, "`file` to render, NAME.tmpl; may be given several times")
	flags.StringVar(&p.beside, "out", "", "`directory` for what is rendered (default beside each template)")
	_ = cmd.MarkFlagDirname("dir")
	_ = cmd.MarkFlagDirname("out")
	_ = cmd.RegisterFlagCompletionFunc("template", cobra.FixedCompletions([]string{"tmpl"}, cobra.ShellCompDirectiveFilterFileExt))
	_ = cmd.RegisterFlagCompletionFunc("env", environmentNames)
	cmd.ValidArgsFunction = a.certificateNames
	return cmd
}

func (a *app) pull(ctx context.Context, p pulling) error {
	for _, name := range p.names {
		if err := anycert.CheckName(name); err != nil {
			return fmt.Errorf("pull: %w", err)
		}
	}
	from, err := a.pullFrom(p.env)
	if err != nil {
		return err
	}
	if opened, ok := from.store.(session); ok {
		defer a.close(opened)
	}
	dir, err := filepath.Abs(cmp.Or(p.dir, from.dir, "certs"))
	if err != nil {
		return err
	}
	rendering, err := newRendering(slices.Concat(from.templates, p.templates), p.beside, dir)
	if err != nil {
		return fmt.Errorf("pull: %w", err)
	}
	if err := rendering.refuseTracked(ctx); err != nil {
		return err
	}
	names, err := p.choose(ctx, from, rendering)
	if err != nil {
		return err
	}
	if len(names) == 0 && len(rendering.files) == 0 {
		fmt.Fprintln(a.out, "the store has no certificates")
		return nil
	}
	table := &pullTable{dir: dir, named: slices.Concat(p.names, from.wanted, rendering.certificates()), check: p.check}
	var promises []reconcile.Promise
	if len(names) > 0 {
		if promises, err = pullAll(ctx, from.store, dir, names, p.check); err != nil {
			return err
		}
	}
	for _, promise := range promises {
		table.promise(promise)
	}
	for _, made := range rendering.all(ctx, from.store, promises, p.check) {
		table.add(made)
	}
	return table.write(a.out)
}

// choose lists what is to be pulled. A certificate that a template names is pulled as
// well; where nothing else says what is wanted, the templates do.
func (p pulling) choose(ctx context.Context, from source, rendering *rendering) ([]string, error) {
	needed := rendering.certificates()
	switch {
	case len(p.names) > 0:
		return append(needed, p.names...), nil
	case len(from.names) > 0:
		return append(needed, from.names...), nil
	case len(rendering.files) > 0:
		return needed, nil
	}
	return listed(ctx, from.store)
}

// listed are the names that the store shows.
func listed(ctx context.Context, store anycert.Store) ([]string, error) {
	names, err := store.Names(ctx)
	switch {
	case errors.Is(err, anycert.ErrForbidden):
		return nil, fmt.Errorf("pull: %w; or name the certificates to pull", err)
	case err != nil:
		return nil, fmt.Errorf("pull: %w", err)
	}
	return names, nil
}

// source is where certificates are pulled from, and what it says itself of what is wanted.
type source struct {
	store     anycert.Store
	names     []string
	wanted    []string // those of names that the person whose file it is chose
	dir       string
	templates []string
}

// pullFrom opens the store of the environment, else of the configuration, or the one
// that the process's environment names where there is no configuration.
func (a *app) pullFrom(env string) (source, error) {
	if env != "" {
		found, err := environment(env)
		if err != nil {
			return source{}, err
		}
		store, err := found.Open(config.Options{Version: version()})
		return source{store, found.Certificates, found.Certificates, found.Dir, found.Templates}, err
	}
	path, err := a.path()
	if err != nil {
		store, storeErr := config.StoreFromEnvironment(config.Options{Version: version()})
		if storeErr != nil {
			return source{}, fmt.Errorf("pull: %w; or name an environment with --env; or say in VAULT_ADDR where the store is: %w", err, storeErr)
		}
		return source{store: store}, nil
	}
	loaded, err := load(path)
	if err != nil {
		return source{}, err
	}
	from := source{}
	for _, c := range loaded.Certificates {
		from.names = append(from.names, c.Name)
	}
	from.store, err = config.OpenStore(loaded, config.Options{Version: version()})
	return from, err
}

// environment finds one in the person's own file.
func environment(name string) (config.Environment, error) {
	path, err := config.EnvironmentsFile()
	if err != nil {
		return config.Environment{}, err
	}
	file, err := config.LoadEnvironments(path)
	if errors.Is(err, fs.ErrNotExist) {
		return config.Environment{}, fmt.Errorf("%w: write one (docs/laptop.md)", err)
	}
	if err != nil {
		return config.Environment{}, err
	}
	return file.Find(name)
}

// environmentNames completes --env.
func environmentNames(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	path, err := config.EnvironmentsFile()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	file, err := config.LoadEnvironments(path)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return file.Names(), cobra.ShellCompDirectiveNoFileComp
}

// pullAll is one pass of one file sink without a reload; with check, a look alone.
func pullAll(ctx context.Context, store anycert.Store, dir string, names []string, check bool) ([]reconcile.Promise, error) {
	if !check {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("pull: %w", err)
		}
	}
	settings := &file.Config{Dir: dir}
	sink, err := settings.Open(anycert.SinkEnv{Name: puller, Owner: puller, UserAgent: "anycert/" + version()})
	if err != nil {
		return nil, fmt.Errorf("pull into %s: %w", dir, err)
	}
	var certificates []anycert.Certificate
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		certificates = append(certificates, anycert.Certificate{Name: name})
	}
	hub := reconcile.New(reconcile.Parts{
		Owner: puller, Store: store, Certificates: certificates,
		Agents: []reconcile.Agent{{Name: puller, Type: "file", Sink: sink, Certificates: certificates}},
	}, slog.New(slog.DiscardHandler))
	if check {
		return hub.Audit(ctx, reconcile.Only{}).Promises, nil
	}
	return hub.Sync(ctx, reconcile.SyncOptions{NoIssue: true}).Promises, nil
}

func until(p reconcile.Promise) string {
	if p.NotAfter == nil {
		return ""
	}
	return "expires " + p.NotAfter.UTC().Format("2006-01-02 15:04Z")
}

// isDenied reports whether the store did not let us: its metadata, or its data.
func isDenied(p reconcile.Promise) bool {
	return errors.Is(p.StoreErr(), anycert.ErrForbidden) || errors.Is(p.Err, anycert.ErrForbidden)
}
