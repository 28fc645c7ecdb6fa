package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/trusted"
	"github.com/anycert/anycert/reconcile"
	"github.com/anycert/anycert/sinks/file"
	"github.com/anycert/anycert/sinks/file/render"
)

// marks is the directory within that of the certificates that says which rendered files
// are ours, wherever they lie.
const marks = ".rendered"

// rendering is the templates of one pull, and what was read for them.
type rendering struct {
	dir     string // of the certificates
	files   []rendered
	secrets map[string]anycert.Secret
	errs    map[string]error // why a secret is not there
}

// rendered is one template and the file that it makes.
type rendered struct {
	name     string // of the file
	path     string // the same in full
	template *render.Template
}

// newRendering reads every template, and finds its mistakes before anything is asked.
// Who may change a template can have secrets end where he reads them, so it is read as
// a configuration is.
func newRendering(templates []string, out, dir string) (*rendering, error) {
	r := &rendering{dir: dir, secrets: map[string]anycert.Secret{}, errs: map[string]error{}}
	made := map[string]string{}
	for _, path := range templates {
		path, err := filepath.Abs(path)
		if err != nil {
			return nil, err
		}
		name, err := render.Output(filepath.Base(path))
		if err != nil {
			return nil, fmt.Errorf("template %s: %w", path, err)
		}
		text, err := trusted.Read(path, render.MaxTemplate)
		if err != nil {
			return nil, fmt.Errorf("template: %w", err)
		}
		parsed, err := render.Parse(filepath.Base(path), text)
		if err != nil {
			return nil, err
		}
		target := filepath.Dir(path)
		if out != "" {
			target = out
		}
		if target, err = filepath.Abs(filepath.Join(target, name)); err != nil {
			return nil, err
		}
		if other, taken := made[target]; taken {
			if other == path { // the environment and the command line name the same
				continue
			}
			return nil, fmt.Errorf("templates %s and %s both make %s: choose another --out for one of them", other, path, target)
		}
		made[target] = path
		r.files = append(r.files, rendered{name, target, parsed})
	}
	return r, nil
}

// refuseTracked keeps keys and what is rendered out of git.
func (r *rendering) refuseTracked(ctx context.Context) error {
	if err := refuseTracked(ctx, resolved(r.dir)); err != nil {
		return err
	}
	for _, file := range r.files {
		if err := refuseTrackedFile(ctx, filepath.Join(resolved(filepath.Dir(file.path)), file.name)); err != nil {
			return err
		}
	}
	return nil
}

// certificates are the names of all that the templates ask for.
func (r *rendering) certificates() (names []string) {
	for _, file := range r.files {
		names = append(names, file.template.Certificates()...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// all renders every file. The certificates that it names must have come; with check,
// their paths are enough, since that they are behind is told of them.
func (r *rendering) all(ctx context.Context, store anycert.Store, promises []reconcile.Promise, check bool) (rows []pulled) {
	there := map[string]render.Paths{}
	for _, p := range promises {
		if p.Verdict == reconcile.Kept || check {
			there[p.Certificate] = render.PathsIn(filepath.Join(r.dir, p.Certificate))
		}
	}
	for _, file := range r.files {
		row, err := r.one(ctx, store, file, there, check)
		if err != nil {
			row = pulled{did: "failed", why: err.Error(), failed: true}
			if errors.Is(err, anycert.ErrRefused) {
				row.did, row.why = string(reconcile.Refused), strings.TrimPrefix(row.why, anycert.ErrRefused.Error()+": ")
			}
		}
		row.what, row.where = file.name, file.path
		rows = append(rows, row)
	}
	return rows
}

func (r *rendering) one(ctx context.Context, store anycert.Store, file rendered, there map[string]render.Paths, check bool) (pulled, error) {
	for _, name := range file.template.Certificates() {
		if there[name] == nil {
			return pulled{}, fmt.Errorf("it names the certificate %s, which did not come: see its line", name)
		}
	}
	for _, place := range file.template.Secrets() {
		if err := r.read(ctx, store, place); err != nil {
			return pulled{}, err
		}
	}
	want, err := file.template.Execute(there, r.secrets)
	if err != nil {
		return pulled{}, err
	}
	if !check {
		if err := os.MkdirAll(filepath.Dir(file.path), 0o700); err != nil {
			return pulled{}, err
		}
		if err := os.MkdirAll(filepath.Join(r.dir, marks), 0o700); err != nil {
			return pulled{}, err
		}
	}
	return file.put(ctx, filepath.Join(r.dir, marks), want, check)
}

// read asks Vault for a field, once for all templates.
func (r *rendering) read(ctx context.Context, store anycert.Store, place string) error {
	if err, asked := r.errs[place]; asked {
		return err
	}
	vault, ok := store.(interface {
		ReadField(ctx context.Context, place string) (anycert.Secret, error)
	})
	if !ok {
		return fmt.Errorf("secret %q: the store is no Vault, and has no fields to read", place)
	}
	secret, err := vault.ReadField(ctx, place)
	if err == nil && secret.IsZero() {
		err = fmt.Errorf("reading %s: %w: it is empty", place, anycert.ErrMalformed)
	}
	r.secrets[place], r.errs[place] = secret, err
	return err
}

// put writes the file where it differs, or with check tells that it does.
func (f rendered) put(ctx context.Context, memory string, want []byte, check bool) (pulled, error) {
	dir, err := os.OpenRoot(filepath.Dir(f.path))
	if errors.Is(err, os.ErrNotExist) && check {
		return pulled{did: "behind", why: "it is missing", behind: true}, nil
	}
	if err != nil {
		return pulled{}, err
	}
	defer dir.Close()
	remembered, err := os.OpenRoot(memory)
	if errors.Is(err, os.ErrNotExist) && check {
		remembered, err = os.OpenRoot(filepath.Dir(f.path)) // no mark is there either
	}
	if err != nil {
		return pulled{}, err
	}
	defer remembered.Close()
	if !check {
		locked, err := file.Lock(ctx, remembered)
		if err != nil {
			return pulled{}, err
		}
		defer locked.Close()
	}
	sum := sha256.Sum256([]byte(f.path))
	place := render.Place{Dir: dir, Name: f.name, Memory: remembered, Mark: hex.EncodeToString(sum[:16]) + ".json",
		Owner: puller, Mode: 0o600, UID: -1, GID: -1}
	seen, err := place.Look(want)
	if err != nil {
		return pulled{}, err
	}
	shown := seen.Info != nil && seen.Info.Mode().Perm() != 0o600
	switch {
	case seen.State == render.Foreign:
		return pulled{}, fmt.Errorf("%w: anycert did not make it, or made it with another --dir: move it away, or choose another --out", anycert.ErrRefused)
	case seen.State == render.Edited:
		return pulled{}, fmt.Errorf("%w: somebody changed it since anycert made it: put the change into the template, or into another file, and remove this one", anycert.ErrRefused)
	case seen.State == render.Same && !shown:
		return pulled{did: "unchanged", got: true}, nil
	case check:
		return pulled{did: "behind", why: behind(seen), behind: true}, nil
	}
	if err := place.Write(want); err != nil {
		return pulled{}, err
	}
	return pulled{did: "written", got: true}, nil
}

func behind(seen render.Seen) string {
	switch seen.State {
	case render.Missing:
		return "it is missing"
	case render.Same:
		return fmt.Sprintf("it has mode %04o, should be 0600", seen.Info.Mode().Perm())
	}
	return "it differs from what the template makes now"
}
