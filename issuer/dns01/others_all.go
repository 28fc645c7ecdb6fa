//go:build alldns

package dns01

import (
	"errors"
	"os"
	"strings"
	"sync"

	"github.com/go-acme/lego/v4/challenge"
	legodns "github.com/go-acme/lego/v4/providers/dns"
)

//go:generate go run ./internal/legotable -o others_table.go

// elsewhere ends the sentence that a provider is not known.
const elsewhere = ""

// environment is held while lego is shown settings as environment variables, which
// is the only way in to most of its providers.
var environment sync.Mutex

// others lists lego's providers beside the built-in ones. "manual" asks a person.
func others() []string {
	var names []string
	for name := range legoTable {
		if _, is := builtin()[name]; !is && name != "manual" {
			names = append(names, name)
		}
	}
	return names
}

// other describes one of lego's providers.
func other(name string) (spec, bool) {
	known, ok := legoTable[name]
	if !ok || name == "manual" {
		return spec{}, false
	}
	s := spec{build: func(v *values) (backend, error) { return v.lego(v.byName(name, known)) }}
	for word := range strings.FieldsSeq(known) {
		if bare, is := strings.CutSuffix(word, "!"); is {
			s.settings = append(s.settings, secret(bare))
		} else {
			s.settings = append(s.settings, plain(word))
		}
	}
	return s, true
}

// byName makes a provider from variables that are set for the time of the call.
// Those that lego knows and the configuration does not name are hidden meanwhile,
// so that the credentials are none but the issuer's own.
func (v *values) byName(name, known string) (challenge.Provider, error) {
	return v.slow(func() (provider challenge.Provider, err error) {
		environment.Lock()
		defer environment.Unlock()
		for word := range strings.FieldsSeq(known) {
			variable := strings.TrimSuffix(word, "!")
			defer restore(variable)()
			defer restore(variable + "_FILE")()
			err = errors.Join(err, os.Unsetenv(variable+"_FILE"), os.Unsetenv(variable))
			if text, given := v.texts[variable]; given {
				err = errors.Join(err, os.Setenv(variable, text))
			}
		}
		if err != nil {
			return nil, errors.New("a setting cannot be handed to lego: it holds a zero byte")
		}
		return legodns.NewDNSChallengeProviderByName(name)
	})
}

// restore remembers a variable, and returns what puts it back.
func restore(variable string) func() {
	old, was := os.LookupEnv(variable)
	return func() {
		if was {
			_ = os.Setenv(variable, old)
			return
		}
		_ = os.Unsetenv(variable)
	}
}
