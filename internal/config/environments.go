package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/config/strict"
	"github.com/anycert/anycert/internal/trusted"
	"github.com/anycert/anycert/sinks/file/render"
	"github.com/anycert/anycert/store"
)

// Environments are what a person's own file says about the places that certificates can
// be pulled from: `pull --env`, `diff`. It is not changed after it was loaded.
type Environments struct {
	// Version is the version of this format: 1.
	Version int `yaml:"version"`
	// Environments each have a store.
	Environments []Environment `yaml:"environments"`

	file string
}

// Environment is one store, and what a person wants of it.
type Environment struct {
	// Name is what --env calls it.
	Name string `yaml:"name"`
	// Store is where its certificates are.
	Store Store `yaml:"store"`
	// Certificates are the names of those to pull. Default: all that the store lists
	// and the token may read.
	Certificates []string `yaml:"certificates"`
	// Dir is where they go: a full path, or one that begins with ~/. Default: what --dir
	// says.
	Dir string `yaml:"dir"`
	// Templates are files to render: full paths, or such as begin with ~/.
	Templates []string `yaml:"templates"`
}

// EnvironmentsFile is where a person keeps it: anycert/environments.yaml below
// XDG_CONFIG_HOME or ~/.config, on macOS below ~/Library/Application Support.
func EnvironmentsFile() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("the file of environments: %w", err)
	}
	return filepath.Join(dir, "anycert", "environments.yaml"), nil
}

// LoadEnvironments reads and checks a file of environments, as Load does a
// configuration.
func LoadEnvironments(path string) (*Environments, error) {
	text, err := trusted.Read(path, strict.MaxBytes)
	if err != nil {
		return nil, fmt.Errorf("environments: %w", err)
	}
	root, problems := strict.Parse(text)
	if len(problems) > 0 {
		return nil, problemsOf(path, problems)
	}
	file := &Environments{file: path}
	if later := (&Config{root: root}).later(); later != nil {
		return nil, problemsOf(path, []strict.Problem{*later})
	}
	var decoder strict.Decoder
	decoder.Decode(root, file)
	home, err := os.UserHomeDir()
	if err != nil {
		home = "" // told where a path needs it
	}
	checking := &checks{Config: &Config{file: path, root: root}}
	checking.environments(file, home)
	if err := problemsOf(path, strict.Merge(decoder.Problems, checking.problems)); err != nil {
		return nil, err
	}
	return file, nil
}

// environments checks the file, and puts home in the place of each ~.
func (c *checks) environments(file *Environments, home string) {
	if file.Version < 1 {
		c.add("version", "it is missing: write version: %d", Version)
	}
	if len(file.Environments) == 0 {
		c.add("environments", "there are none: add one, with a name and a store")
	}
	taken := c.names("environment")
	for i := range file.Environments {
		e := &file.Environments[i]
		path := fmt.Sprintf("environments[%d]", i)
		taken.claim(path, e.Name)
		c.storeAt(path+".store", e.Store)
		for j, name := range e.Certificates {
			if err := anycert.CheckName(name); err != nil {
				c.add(fmt.Sprintf("%s.certificates[%d]", path, j), "%v", err)
			}
		}
		if e.Dir != "" {
			e.Dir = c.full(path+".dir", e.Dir, home)
		}
		for j, template := range e.Templates {
			field := fmt.Sprintf("%s.templates[%d]", path, j)
			e.Templates[j] = c.full(field, template, home)
			if _, err := render.Output(filepath.Base(template)); err != nil {
				c.add(field, "%v", err)
			}
		}
	}
}

// full is a path that does not depend on where anycert is started.
func (c *checks) full(field, path, home string) string {
	below, inHome := strings.CutPrefix(path, "~/")
	switch {
	case inHome && home == "":
		c.add(field, "there is no home directory: HOME is not set")
	case inHome:
		return filepath.Join(home, below)
	case !filepath.IsAbs(path):
		c.add(field, "%q depends on where anycert is started: write a full path, or one that begins with ~/", path)
	}
	return path
}

// Names are those of all environments, in the order of the file.
func (e *Environments) Names() []string {
	names := make([]string, len(e.Environments))
	for i, environment := range e.Environments {
		names[i] = environment.Name
	}
	return names
}

// Find returns the environment of a name.
func (e *Environments) Find(name string) (Environment, error) {
	i := slices.IndexFunc(e.Environments, func(one Environment) bool { return one.Name == name })
	if i < 0 {
		return Environment{}, fmt.Errorf("%s has no environment %q: there is %s", e.file, name, strings.Join(e.Names(), ", "))
	}
	return e.Environments[i], nil
}

// Open opens the store of an environment. Nothing is asked over the network.
func (e Environment) Open(options Options) (anycert.Store, error) {
	opened, err := OpenStore(&Config{Store: e.Store}, options)
	if err != nil {
		return nil, fmt.Errorf("environment %s: %w", e.Name, err)
	}
	return opened, nil
}

// At is the same store with another prefix: two environments may lie side by side in
// one Vault.
func (s Store) At(prefix string) (Store, error) {
	if s.Vault == nil {
		return Store{}, errors.New("a store of type local has no prefixes: name its configuration")
	}
	vault := *s.Vault
	vault.Prefix = prefix
	if problems := vault.Check(); len(problems) > 0 {
		return Store{}, fmt.Errorf("prefix %q: %s", prefix, problems[0].Text)
	}
	return Store{Vault: &vault}, nil
}

// PrefixFromEnvironment is StoreFromEnvironment for another prefix than the default.
func PrefixFromEnvironment(prefix string, options Options) (anycert.Store, error) {
	if options.getenv("VAULT_ADDR") == "" {
		return nil, errors.New("VAULT_ADDR is not set")
	}
	at, err := Store{Vault: new(store.Config)}.At(prefix)
	if err != nil {
		return nil, err
	}
	return OpenStore(&Config{Store: at}, options)
}
