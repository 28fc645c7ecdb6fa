package anycert

import (
	"fmt"
	"strings"
	"unicode"
)

// Role is what somebody uses anycert for. Each needs other rights, at the store and
// at the places that hold copies.
type Role string

const (
	Hub      Role = "hub"      // obtains certificates and pushes them: run, sync, prune, check
	Follower Role = "follower" // pushes what others put into the store: run and sync, without issuers
	Auditor  Role = "auditor"  // compares and changes nothing: audit, status
	Laptop   Role = "laptop"   // a person who pulls: it needs nothing of any sink
)

// Roles lists them all, the most powerful first.
func Roles() []Role { return []Role{Hub, Follower, Auditor, Laptop} }

// Pushes reports whether a role writes to sinks.
func (r Role) Pushes() bool { return r == Hub || r == Follower }

// Grantee is who is to be given rights, and for what.
type Grantee struct {
	Role         Role
	Owner        string        // of the configuration, as in every mark
	Sink         string        // name of the sink
	Certificates []Certificate // that belong there
	// Retired are names of certificates that belonged there once: `prune --yes` is to
	// find and delete their copies. Mostly there are none.
	Retired []string
	// Subjects are the accounts at the place that anycert comes with, as the place
	// writes them. Empty: the place's default, or none.
	Subjects []string
}

// Grants are rights in the language of the place that gives them: HCL for Vault, YAML
// for kubectl, lines of a configuration file, commands, or sentences. What is not
// meant for a machine is behind '#', so that each can be piped to where it belongs.
type Grants string

// Optional powers of a [SinkConfig]. Both answer from the configuration alone, on any
// machine: no file that it names is opened and nobody is asked.
type (
	// Grantor tells the rights that a sink needs, and no more: without any one of
	// them something that the role is for fails. Empty: the role needs nothing there.
	// An error is a mistake in the configuration or in the Grantee.
	Grantor interface {
		Grants(to Grantee) (Grants, error)
	}

	// Locker tells how the place itself can be made to refuse whoever changes our
	// copies and is not one of to.Subjects, with a message that says where the truth
	// is kept: truth, a phrase for people that ends where the name of a certificate
	// follows ("in Vault at secret/anycert/certs/"). What is not ours stays as free
	// as it was, and a namespace or account can still be taken down as a whole.
	Locker interface {
		Lock(to Grantee, truth string) (Grants, error)
	}
)

// ShellWord writes a text as one word of a shell, on one line, so that it can stand in
// a command that people copy, and in a comment. What no shell takes apart stays as it
// is; control characters are written as bash, ksh and zsh read them ($'\n').
func ShellWord(text string) string {
	plain := text != ""
	for _, r := range text {
		if !unicode.IsPrint(r) {
			return shellEscaped(text)
		}
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		plain = plain && (letter || strings.ContainsRune("_@%+:,./-", r))
	}
	if plain {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

func shellEscaped(text string) string {
	var out strings.Builder
	for _, b := range []byte(text) {
		switch {
		case b == '\'' || b == '\\':
			out.WriteString(`\` + string(b))
		case b < ' ' || b > '~':
			fmt.Fprintf(&out, `\x%02x`, b)
		default:
			out.WriteByte(b)
		}
	}
	return "$'" + out.String() + "'"
}
