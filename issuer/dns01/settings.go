package dns01

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/trusted"
)

// spec describes a provider.
type spec struct {
	// settings are the known names.
	settings []setting
	// needs are groups of names: one group must be given in full. None: the
	// provider finds credentials around it (the identity of its machine).
	needs [][]string
	// build makes the provider. It may ask the network.
	build func(v *values) (backend, error)
}

// setting is a name that a provider knows.
type setting struct {
	name string
	// same is the name that this one is another spelling of; empty for itself.
	same string
	// secret is set when the value must not be written plainly.
	secret bool
}

// secret, plain and also make the entries of a spec's settings.
func secret(name string) setting     { return setting{name: name, secret: true} }
func plain(name string) setting      { return setting{name: name} }
func also(name, same string) setting { return setting{name: name, same: same} }

// paced are the settings of time that nearly every provider has.
func paced(prefix string) []setting {
	return []setting{plain(prefix + "TTL"), plain(prefix + "PROPAGATION_TIMEOUT"), plain(prefix + "POLLING_INTERVAL"), plain(prefix + "HTTP_TIMEOUT")}
}

func (s spec) find(name string) (setting, bool) {
	i := slices.IndexFunc(s.settings, func(known setting) bool { return known.name == name })
	if i < 0 {
		return setting{}, false
	}
	found := s.settings[i]
	if found.same != "" {
		target, _ := s.find(found.same)
		found.secret = target.secret
	}
	return found, true
}

// check lists every mistake in settings. No value is shown.
func (s spec) check(settings Settings) (problems []anycert.Problem) {
	given := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		add := func(format string, args ...any) {
			problems = append(problems, anycert.Problem{Field: "settings." + name, Text: fmt.Sprintf(format, args...)})
		}
		known, ok := s.find(name)
		value := settings[name]
		switch {
		case !ok:
			add("the provider has no setting of this name: it knows %s", strings.Join(s.names(), ", "))
			continue
		case value.Plain != "" && known.secret:
			add("a secret is never written in the file: use {env: NAME}, {file: PATH} or {vault: MOUNT/PATH#FIELD}")
		case value.Plain == "" && !single(value.Reference):
			add("exactly one of env, file and vault is to be given")
		}
		canonical := known.canonical()
		if given[canonical] {
			add("it is another name for %s, which is given as well: remove one", canonical)
		}
		given[canonical] = true
	}
	return append(problems, s.missing(given)...)
}

func (s spec) missing(given map[string]bool) []anycert.Problem {
	var groups []string
	for _, group := range s.needs {
		if !slices.ContainsFunc(group, func(name string) bool { return !given[name] }) {
			return nil
		}
		groups = append(groups, strings.Join(group, " and "))
	}
	if len(groups) == 0 {
		return nil
	}
	return []anycert.Problem{{Field: "settings", Text: "the provider needs " + strings.Join(groups, ", or ")}}
}

func (s setting) canonical() string {
	if s.same != "" {
		return s.same
	}
	return s.name
}

func (s spec) names() []string {
	var names []string
	for _, known := range s.settings {
		names = append(names, known.name)
	}
	slices.Sort(names)
	return names
}

func single(r anycert.Reference) bool {
	given := 0
	for _, field := range []string{r.Env, r.File, r.Vault} {
		if field != "" {
			given++
		}
	}
	return given == 1
}

// values are the settings of a provider with their secrets, by canonical name.
// The first value that cannot be read as what it should be is kept in err.
type values struct {
	ctx       context.Context
	texts     map[string]string
	secrets   []string             // what must not be shown
	refs      []anycert.Credential // whose secrets they are
	resolvers *resolver
	locks     *Locks
	denials   *atomic.Int64 // that the provider's API answered; see guard

	propagation Propagation
	err         error
}

// read fetches the secrets of settings.
func (s spec) read(ctx context.Context, settings Settings, credential func(anycert.Reference) anycert.Credential) (*values, error) {
	v := &values{ctx: ctx, texts: map[string]string{}, denials: new(atomic.Int64)}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		known, ok := s.find(name)
		if !ok {
			return nil, fmt.Errorf("unknown setting %s", name)
		}
		text := settings[name].Plain
		if reference := settings[name].Reference; !reference.IsZero() {
			from := credential(reference)
			found, err := from.Secret(ctx)
			if err != nil {
				return nil, fmt.Errorf("setting %s: %w", name, err)
			}
			text = found.Reveal()
			v.refs = append(v.refs, from)
			if known.secret {
				v.secrets = append(v.secrets, text)
			}
		}
		if strings.HasSuffix(known.name, "_FILE") || strings.HasSuffix(known.name, "_FILE_PATH") { // lego reads it
			if err := trusted.Check(text, trusted.MaxCredential); err != nil {
				return nil, fmt.Errorf("setting %s: %w", name, err)
			}
		}
		v.texts[known.canonical()] = text
	}
	return v, nil
}

func (v *values) text(name string) string { return v.texts[name] }

func (v *values) textOr(name, otherwise string) string {
	if text := v.texts[name]; text != "" {
		return text
	}
	return otherwise
}

func (v *values) number(name string, otherwise int) int {
	return parsed(v, name, otherwise, strconv.Atoi, "a whole number")
}

func (v *values) flag(name string, otherwise bool) bool {
	return parsed(v, name, otherwise, strconv.ParseBool, "true or false")
}

// duration reads a duration as lego does, a number of seconds, or as Go does.
func (v *values) duration(name string, otherwise time.Duration) time.Duration {
	return parsed(v, name, otherwise, func(text string) (time.Duration, error) {
		if seconds, err := strconv.Atoi(text); err == nil {
			return time.Duration(seconds) * time.Second, nil
		}
		return time.ParseDuration(text)
	}, "a number of seconds")
}

func parsed[T any](v *values, name string, otherwise T, parse func(string) (T, error), what string) T {
	text := v.texts[name]
	if text == "" {
		return otherwise
	}
	value, err := parse(text)
	if err != nil {
		if v.err == nil {
			v.err = fmt.Errorf("setting %s is not %s", name, what)
		}
		return otherwise
	}
	return value
}
