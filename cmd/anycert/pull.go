package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/config"
	"github.com/anycert/anycert/reconcile"
	"github.com/anycert/anycert/sinks/file"
)

// puller is the owner in the marks of pulled files: nobody's hub.
const puller = "pull"

func (a *app) pullCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "pull [NAME...]",
		Short: "Bring certificates from the store into local files",
		Long: `Bring certificates from the store into local files, in the layout of the file sink:
DIR/NAME/fullchain.pem, privkey.pem, cert.pem, chain.pem, combined.pem. Without names,
every certificate that the configuration declares, or that the store lists and your
token may read.

Of the configuration the store alone is used; without one, VAULT_ADDR, VAULT_TOKEN
or ~/.vault-token, VAULT_CACERT and VAULT_NAMESPACE say where it is. Never a sink,
never a reload. Files that anycert did not put there are refused, and so is a git
work tree that does not ignore DIR.

Exit code: 0 everything is there; 1 something that was asked for is not. What your
token may not read is a failure only when it was asked for by name.`,
		Example: `  anycert pull --dir ./certs example
  VAULT_ADDR=https://vault.example.com anycert pull --dir ./certs
  anycert pull --config prod.yaml`,
		RunE: func(cmd *cobra.Command, names []string) error {
			return a.pull(cmd.Context(), dir, names)
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "certs", "`directory` to write to")
	_ = cmd.MarkFlagDirname("dir")
	cmd.ValidArgsFunction = a.certificateNames
	return cmd
}

func (a *app) pull(ctx context.Context, dir string, names []string) error {
	for _, name := range names {
		if err := anycert.CheckName(name); err != nil {
			return fmt.Errorf("pull: %w", err)
		}
	}
	store, declared, err := a.pullStore()
	if err != nil {
		return err
	}
	if opened, ok := store.(session); ok {
		defer a.close(opened)
	}
	dir, err = filepath.Abs(dir)
	if err != nil {
		return err
	}
	if err := refuseTracked(ctx, resolved(dir)); err != nil {
		return err
	}
	chosen := len(names) > 0
	if !chosen {
		if names = declared; len(names) == 0 {
			if names, err = listed(ctx, store); err != nil {
				return err
			}
		}
	}
	if len(names) == 0 {
		fmt.Fprintln(a.out, "the store has no certificates")
		return nil
	}
	promises, err := pullAll(ctx, store, dir, names)
	if err != nil {
		return err
	}
	return a.reportPull(promises, dir, chosen)
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

// pullStore opens the store of the configuration, or the one that the environment
// names where there is no configuration.
func (a *app) pullStore() (anycert.Store, []string, error) {
	path, err := a.path()
	if err != nil {
		store, storeErr := config.StoreFromEnvironment(config.Options{Version: version()})
		if storeErr != nil {
			return nil, nil, fmt.Errorf("pull: %w; or say in the environment where the store is: %w", err, storeErr)
		}
		return store, nil, nil
	}
	loaded, err := load(path)
	if err != nil {
		return nil, nil, err
	}
	store, err := config.OpenStore(loaded, config.Options{Version: version()})
	if err != nil {
		return nil, nil, err
	}
	var names []string
	for _, c := range loaded.Certificates {
		names = append(names, c.Name)
	}
	return store, names, nil
}

// pullAll is one pass of one file sink without a reload.
func pullAll(ctx context.Context, store anycert.Store, dir string, names []string) ([]reconcile.Promise, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("pull: %w", err)
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
	return hub.Sync(ctx, reconcile.SyncOptions{NoIssue: true}).Promises, nil
}

// reportPull names for each certificate what was done. What policy denies is no
// failure, unless it was asked for by name or nothing else came.
func (a *app) reportPull(promises []reconcile.Promise, dir string, chosen bool) error {
	table := tabwriter.NewWriter(a.out, 0, 0, 3, ' ', 0)
	got, failed := 0, 0
	for _, p := range promises {
		var did, why string
		where := "-"
		switch {
		case p.Verdict == reconcile.Kept:
			got++
			did, where, why = "unchanged", filepath.Join(dir, p.Certificate), fmt.Sprintf("version %d, %s", p.Version, until(p))
			if p.Pushed {
				did = "written"
			}
		case isDenied(p):
			did, why = "denied", reconcile.Clean(cmp.Or(p.StoreErr(), p.Err).Error())
			if chosen {
				failed++
			}
		case errors.Is(p.StoreErr(), anycert.ErrNotFound) && p.Verdict == reconcile.Waiting:
			failed++
			did, why = "missing", "the store has no certificate of this name yet"
		default:
			failed++
			did, why = string(p.Verdict), p.Words()
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", reconcile.Clean(p.Certificate), did, reconcile.Clean(where), why)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if failed > 0 || got == 0 {
		return exit(reconcile.ExitFailed)
	}
	return nil
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

// refuseTracked keeps private keys out of git: a directory within a work tree must
// be ignored there.
func refuseTracked(ctx context.Context, dir string) error {
	root := workTree(dir)
	if root == "" {
		return nil
	}
	// The keys lie below .anycert: DIR/NAME is a symlink, and git looks behind none.
	ignored, err := gitIgnores(ctx, root, filepath.Join(dir, ".anycert", "example", "privkey.pem"))
	switch {
	case err != nil:
		return fmt.Errorf("pull: %s is inside the git work tree %s, and git could not be asked whether it ignores it (%w): choose a --dir outside", dir, root, err)
	case !ignored:
		relative, _ := filepath.Rel(root, dir)
		return fmt.Errorf("pull: %s is inside the git work tree %s, which does not ignore it: a private key would be one `git add` away from being published; add /%s/ to %s, or choose another --dir",
			dir, root, filepath.ToSlash(relative), filepath.Join(root, ".gitignore"))
	}
	return nil
}

// resolved is path without symlinks, as far as it exists.
func resolved(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil || path == filepath.Dir(path) {
		return cmp.Or(real, path)
	}
	return filepath.Join(resolved(filepath.Dir(path)), filepath.Base(path))
}

// workTree is the nearest folder at or above dir that git works in.
func workTree(dir string) string {
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Lstat(filepath.Join(at, ".git")); err == nil {
			return at
		}
		if at == filepath.Dir(at) {
			return ""
		}
	}
}

// gitIgnores asks git itself: only it knows all its rules. The work tree's own
// configuration may name a command to run at each look, which is somebody else's.
func gitIgnores(ctx context.Context, root, path string) (bool, error) {
	cmd := exec.CommandContext(ctx, "git", "-c", "core.fsmonitor=false", "-C", root, "check-ignore", "--quiet", path)
	var exit *exec.ExitError
	switch _, err := cmd.Output(); {
	case err == nil:
		return true, nil
	case errors.As(err, &exit) && exit.ExitCode() == 1:
		return false, nil
	case errors.As(err, &exit):
		return false, fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
	default:
		return false, err
	}
}
