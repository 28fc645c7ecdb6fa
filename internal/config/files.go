package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/config/strict"
	"github.com/anycert/anycert/internal/trusted"
)

// changeable are the files that the configuration names and someone else may write.
// Each is refused when it is read; told at the start, none is a surprise. What is not
// there yet is told when it is needed.
func (c *Config) changeable() []strict.Problem {
	var problems []strict.Problem
	check := func(field, path string, limit int64) {
		if path == "" {
			return
		}
		if err := trusted.Check(path, limit); errors.Is(err, anycert.ErrRefused) || errors.Is(err, anycert.ErrMalformed) {
			problems = append(problems, c.root.Problem(field, err.Error()))
		}
	}
	for _, reference := range c.references {
		check(reference.Path, reference.File, trusted.MaxCredential)
	}
	for i, declared := range c.Issuers {
		check(fmt.Sprintf("issuers[%d].ca_bundle", i), declared.ACME.CABundle, maxRoots)
	}
	for i, declared := range c.Notify {
		for _, path := range declared.Files() {
			check(fmt.Sprintf("notify[%d]", i), path, maxRoots)
		}
	}
	return problems
}

// maxRoots bounds a file of CAs, in bytes.
const maxRoots = 1 << 20

// exposed are warnings of the credentials that every user of this machine may read.
func (c *Config) exposed(options Options) []string {
	var paths []string
	for _, reference := range c.references {
		paths = append(paths, reference.File)
	}
	for _, declared := range c.Issuers {
		if declared.source != nil {
			paths = append(paths, declared.source.Files()...)
		}
	}
	for _, sink := range c.Sinks {
		if reads, ok := sink.config.(interface{ Files() []string }); ok {
			paths = append(paths, reads.Files()...)
		}
	}
	if vault := c.Store.Vault; vault != nil && (vault.Auth.Method == "" || vault.Auth.Method == "token") && vault.Auth.Token.IsZero() && options.getenv("VAULT_TOKEN") == "" {
		if home, err := os.UserHomeDir(); err == nil {
			paths = append(paths, filepath.Join(home, ".vault-token"))
		}
	}
	slices.Sort(paths)
	var warnings []string
	for _, path := range slices.Compact(paths) {
		if text := trusted.Shown(path); text != "" {
			warnings = append(warnings, path+": "+text)
		}
	}
	return warnings
}

// Exposed warns of a configuration that every user of this machine may read; it is
// empty where there is nothing to say. It holds no secret, but shows where they are.
func Exposed(path string) string {
	if trusted.Shown(path) == "" {
		return ""
	}
	return path + ": every user of this machine may read it. It holds no secret, and tells where they are: where that matters, " +
		"give it to the group of the user that runs anycert (chgrp), and chmod 0640"
}
