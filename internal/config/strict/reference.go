package strict

import (
	"path/filepath"
	"reflect"
	"regexp"
	"strings"

	"github.com/anycert/anycert"
)

const referenceForms = "{env: NAME}, {file: PATH} or {vault: MOUNT/PATH#FIELD}"

// reference decodes an anycert.Reference: the one place where people are tempted
// to write a secret. Nothing of what they wrote is shown.
func (d *Decoder) reference(n Node, into reflect.Value) {
	if n.isNull() {
		d.refuse(n, "it is missing: name where the secret is kept, %s", referenceForms)
		return
	}
	if !n.isMapping() {
		d.refuse(n, "a secret is never written into this file: name where it is kept, %s", referenceForms)
		return
	}
	before := len(d.Problems)
	d.fields(n, into, "unknown field: a secret is named by "+referenceForms)
	if len(d.Problems) > before {
		return
	}
	reference := into.Interface().(anycert.Reference)
	if field, text := checkReference(reference); text != "" {
		at := n.Problem(field, text)
		d.add(at.Position, at.Path, n.path, text)
		into.SetZero()
		return
	}
	d.References = append(d.References, Reference{reference, n.path})
}

var (
	// Upper case, as POSIX has it: a token that was written in place of a name is
	// told from a name, and not shown as one later.
	envName = regexp.MustCompile(`^[A-Z_][A-Z0-9_]{0,127}$`)
	// A mount may have slashes in it as well, and so may a path.
	vaultPath = regexp.MustCompile(`^[^/#\s]+(/[^/#\s]+)+#[^#\s]+$`)
)

// checkReference tells what is wrong with a reference and with which of its fields.
func checkReference(r anycert.Reference) (field, text string) {
	given := 0
	for _, name := range []string{r.Env, r.File, r.Vault} {
		if name != "" {
			given++
		}
	}
	switch {
	case given != 1:
		return "", "exactly one is to be named: " + referenceForms
	case r.Env != "" && !envName.MatchString(r.Env):
		return "env", "this is not the name of a variable: use capital letters, digits and _, and write the secret itself nowhere here"
	case r.File != "" && (!filepath.IsAbs(r.File) || strings.ContainsAny(r.File, "\n\x00")):
		return "file", "this is not the path of a file: begin it with /"
	case r.Vault != "" && !vaultPath.MatchString(r.Vault):
		return "vault", "this is not the place of a secret: write MOUNT/PATH#FIELD, as in secret/credentials/cloudflare#token"
	}
	return "", ""
}
