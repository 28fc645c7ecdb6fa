package config

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/config/strict"
	"github.com/anycert/anycert/internal/trusted"
	"github.com/anycert/anycert/sinks"
)

// Load reads and checks a file. Its mistakes come as [Problems], all at once. A file
// that someone else may write is ErrRefused: see package trusted.
func Load(path string) (*Config, error) {
	text, err := trusted.Read(path, strict.MaxBytes)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return Read(path, bytes.NewReader(text))
}

// Read is Load for a text from anywhere; name takes the place of the path in its
// Problems.
func Read(name string, from io.Reader) (*Config, error) {
	text, err := io.ReadAll(io.LimitReader(from, strict.MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("configuration %s: %w", name, err)
	}
	root, problems := strict.Parse(text)
	if len(problems) > 0 {
		return nil, problemsOf(name, problems)
	}
	c := &Config{file: name, root: root}
	if later := c.later(); later != nil {
		return nil, problemsOf(name, []strict.Problem{*later})
	}
	var decoder strict.Decoder
	decoder.Decode(root, c)
	for i := range c.Issuers {
		c.Issuers[i].decode(&decoder)
	}
	types := sinks.Types()
	for i := range c.Sinks {
		c.Sinks[i].decode(types, &decoder)
	}
	c.references = decoder.References
	checks := &checks{Config: c}
	if err := problemsOf(name, strict.Merge(decoder.Problems, checks.run())); err != nil {
		return nil, err
	}
	return c, nil
}

// later is the one mistake of a file that is written for a later anycert: whatever
// else looks wrong in it may be right there.
func (c *Config) later() *strict.Problem {
	var head struct{ version int }
	var decoder strict.Decoder
	decoder.Decode(c.root.Child("version"), &head.version)
	if head.version <= Version {
		return nil
	}
	problem := c.root.Problem("version", fmt.Sprintf("format %d is for a later anycert: this one reads format %d", head.version, Version))
	return &problem
}

// decode makes the configuration that a sink's type has. The type is looked up in
// the file's spelling, so that an unknown one is told by the checks.
func (s *Sink) decode(types map[string]func() anycert.SinkConfig, decoder *strict.Decoder) {
	if create, ok := types[s.Type]; ok {
		s.config = create()
		decoder.Decode(s.Config, s.config)
	}
}

// typeNames are the kinds of sinks, for people.
func typeNames() string {
	var names []string
	for name := range sinks.Types() {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
