package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/trusted"
	"github.com/anycert/anycert/sinks/file/render"
)

// Template is a file that is rendered beside the certificates, DIR/NAME of NAME.tmpl.
type Template struct {
	// File is the template, a full path that ends in .tmpl. Who may write it decides
	// what a server reads, so it is trusted as the configuration is.
	File string `yaml:"file"`
	// Secrets are what the template may ask for, by the name that it uses. No others are
	// read.
	Secrets map[string]anycert.Reference `yaml:"secrets"`
}

func (c *Config) checkTemplates(add func(field, format string, args ...any)) {
	made := map[string]int{}
	for i, t := range c.Templates {
		field := fmt.Sprintf("templates[%d].file", i)
		name, err := render.Output(filepath.Base(t.File))
		other, taken := made[name]
		switch {
		case t.File == "":
			add(field, "the template is missing: name a file, for example /etc/anycert/stunnel.conf.tmpl")
		case err != nil:
			add(field, "%v", err)
		case !filepath.IsAbs(t.File):
			add(field, "%q depends on where anycert was started: write the full path", t.File)
		case anycert.CheckName(name) == nil:
			add(field, "it makes %q, which could be the name of a certificate: give it an ending, as in %[1]s.conf.tmpl", name)
		case strings.HasPrefix(name, "."):
			add(field, "it makes %q: names that begin with a dot are anycert's own there", name)
		case taken:
			add(field, "it makes %q, and so does templates[%d]: name one of them otherwise", name, other)
		}
		made[name] = i
		for secret, reference := range t.Secrets {
			if reference.IsZero() {
				add(fmt.Sprintf("templates[%d].secrets.%s", i, secret), "it is missing: write {env: NAME}, {file: PATH} or {vault: MOUNT/PATH#FIELD}")
			}
		}
	}
}

// template is a Template with what it takes to render it.
type template struct {
	file, name string
	secrets    map[string]anycert.Credential
}

func (c *Config) openTemplates(env anycert.SinkEnv) (all []template) {
	for _, declared := range c.Templates {
		name, _ := render.Output(filepath.Base(declared.File)) // Check has looked
		t := template{declared.File, name, map[string]anycert.Credential{}}
		for secret, reference := range declared.Secrets {
			t.secrets[secret] = env.Credential(reference)
		}
		all = append(all, t)
	}
	return all
}

// rendered is what a template makes now.
type rendered struct {
	template
	text  []byte
	needs []string // certificates
	err   error    // why there is no text
}

// render makes the files that concern a certificate: those that name it, those that name
// none, and those of which it cannot be told. It depends on the template and on secrets
// alone: a certificate's paths are always the same.
func (s *Sink) render(ctx context.Context, certificate string) (files []rendered) {
	for _, t := range s.templates {
		r := rendered{template: t}
		parsed, err := t.parse()
		if err == nil {
			r.needs = parsed.Certificates()
			if len(r.needs) > 0 && !slices.Contains(r.needs, certificate) {
				continue
			}
			r.text, err = s.execute(ctx, t, parsed)
		}
		r.err = err
		files = append(files, r)
	}
	return files
}

// tryTemplates renders every file and keeps none: what is wrong shows before a pass.
func (s *Sink) tryTemplates(ctx context.Context) error {
	for _, t := range s.templates {
		parsed, err := t.parse()
		if err == nil {
			_, err = s.execute(ctx, t, parsed)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (t template) parse() (*render.Template, error) {
	source, err := trusted.Read(t.file, render.MaxTemplate)
	if err != nil {
		return nil, err
	}
	return render.Parse(filepath.Base(t.file), source)
}

func (s *Sink) execute(ctx context.Context, t template, parsed *render.Template) (text []byte, err error) {
	paths, secrets := map[string]render.Paths{}, map[string]anycert.Secret{}
	for _, name := range parsed.Certificates() {
		paths[name] = render.PathsIn(s.path(name))
	}
	for _, name := range parsed.Secrets() {
		if t.secrets[name] == nil {
			return nil, fmt.Errorf("template %s: the sink's configuration has no secret %q for it: add it to secrets, or mend the name", filepath.Base(t.file), name)
		}
		if secrets[name], err = t.secrets[name].Secret(ctx); err != nil {
			return nil, fmt.Errorf("secret %q of template %s: %w", name, filepath.Base(t.file), err)
		}
	}
	return parsed.Execute(paths, secrets)
}

// absent lists the certificates that a file leads to and that are not there: a server
// that reads it would not start.
func (a *area) absent(r rendered) (names []string, err error) {
	for _, name := range r.needs {
		switch _, err := a.top.Stat(name); {
		case errors.Is(err, fs.ErrNotExist):
			names = append(names, name)
		case err != nil:
			return nil, err
		}
	}
	return names, nil
}

func (a *area) placeOf(r rendered) render.Place {
	return render.Place{Dir: a.top, Name: r.name, Memory: a.private, Mark: "rendered." + r.name + ".json",
		Owner: a.owner + "/" + a.Sink.name, Mode: a.mode, UID: a.uid, GID: a.gid}
}

// templateDeviations are the files that are not as their templates make them.
func (a *area) templateDeviations(files []rendered) (found []anycert.Deviation, err error) {
	for _, r := range files {
		wrong, err := a.wrong(r)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.name, err)
		}
		if wrong != "" {
			found = append(found, deviation("template", "%s %s", r.name, wrong))
		}
	}
	return found, nil
}

// wrong tells what is wrong with a rendered file; empty when nothing is.
func (a *area) wrong(r rendered) (string, error) {
	if r.err != nil {
		return "cannot be rendered: " + r.err.Error(), nil
	}
	absent, err := a.absent(r)
	if err != nil {
		return "", err
	}
	if len(absent) > 0 {
		return fmt.Sprintf("is not rendered: it names %s, which %s has not", strings.Join(absent, ", "), a.dir), nil
	}
	seen, err := a.placeOf(r).Look(r.text)
	if err != nil {
		return "", err
	}
	switch seen.State {
	case render.Missing:
		return "is missing", nil
	case render.Foreign:
		return foreignFile, nil
	case render.Outdated, render.Edited:
		return "differs from what " + r.file + " makes", nil
	}
	if rights := a.permissionsOf(r.name, seen.Info, a.mode, a.uid, a.gid); len(rights) > 0 {
		return "is as " + r.file + " makes it, but " + rights[0].deviation.Detail, nil
	}
	return "", nil
}

const foreignFile = "was not made by anycert for this sink: move it away, or name the template otherwise"

// writeTemplates writes what is wrong, and owes the reload before. One that waits for
// another certificate is left to whoever pushes that. The certificate is in its place
// already: a template that fails delays it not.
func (w *writer) writeTemplates(files []rendered) error {
	var failed []error
	for _, r := range files {
		if err := w.writeTemplate(r); err != nil {
			failed = append(failed, fmt.Errorf("the certificate is there; %s: %w", r.name, err))
		}
	}
	return errors.Join(failed...)
}

func (w *writer) writeTemplate(r rendered) error {
	if r.err != nil {
		return r.err
	}
	wrong, err := w.wrong(r)
	if err != nil || wrong == "" {
		return err
	}
	if absent, err := w.absent(r); err != nil || len(absent) > 0 {
		return err
	}
	if wrong == foreignFile {
		return fmt.Errorf("%w: it %s", anycert.ErrRefused, foreignFile)
	}
	if err := w.owe(w.certificate); err != nil {
		return err
	}
	if err := w.step("render " + r.name); err != nil {
		return err
	}
	return w.placeOf(r).Write(r.text)
}
