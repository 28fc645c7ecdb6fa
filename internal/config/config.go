// Package config loads, checks and wires: it is the only package that knows every
// part of anycert. Each part brings the type of its own configuration; here they
// become one file.
//
// [Load] reads a file and tells every mistake in it at once, with line and column.
// [Open] makes of it a [Graph], ready to work; nothing is asked over the network.
// Both keep nothing behind: to reload is to do both again.
package config

//go:generate go run ./gen ../../docs/config.md

import (
	"cmp"
	"slices"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/config/strict"
	"github.com/anycert/anycert/internal/notify"
	"github.com/anycert/anycert/reconcile"
	"github.com/anycert/anycert/store"
	"github.com/anycert/anycert/store/local"
)

// Version is the version of the configuration's format.
const Version = 1

// Config is a configuration without mistakes that can be seen in the file alone.
// It is not changed after Load.
type Config struct {
	// Version is the version of this format: 1.
	Version int `yaml:"version"`
	// Owner is the name of this hub. It stands in every mark that is left at a
	// target, so that two hubs never fight over one object. Choose it once.
	Owner string `yaml:"owner"`
	// Store is where the only true copy of every certificate is kept.
	Store Store `yaml:"store"`
	// Issuers obtain certificates. Without any, this is a follower: it syncs and
	// never issues.
	Issuers []Issuer `yaml:"issuers"`
	// Certificates are what is to be served. Only what is declared here is ever
	// pushed.
	Certificates []Certificate `yaml:"certificates"`
	// Sinks are the places that are to serve them.
	Sinks []Sink `yaml:"sinks"`
	// Reconcile says how often everything is compared.
	Reconcile Reconcile `yaml:"reconcile"`
	// HTTP is for the status page, probes and metrics.
	HTTP HTTP `yaml:"http"`
	// Notify are those who are told of alarms by `anycert run`: when one starts, when it
	// changes and when it ends. What is told is in [alarms.md](alarms.md).
	Notify []notify.Config `yaml:"notify"`

	file       string             // as errors call it
	root       strict.Node        // to place what only Open can find out
	references []strict.Reference // to secrets
}

// Store is exactly one of the two.
type Store struct {
	// Vault is HashiCorp Vault or OpenBao, KV v2: for production.
	Vault *store.Config `yaml:"vault"`
	// Local is a file on this machine: for trying anycert out.
	Local *local.Config `yaml:"local"`
}

// Certificate declares one certificate.
type Certificate struct {
	// Name is its name in the store, and in everything that is shown.
	Name string `yaml:"name"`
	// Description tells people what it is for, in status and alarms.
	Description string `yaml:"description"`
	// Owner tells people whom to ask about it, in status and alarms.
	Owner string `yaml:"owner"`
	// Domains are the names that it is for, wildcards as "*.example.com".
	Domains []string `yaml:"domains"`
	// Issuer is the name of the issuer that obtains it, or a list of them: the next is
	// asked when the CA of the one before it has failed for a while, and for failures
	// on the CA's own side alone. Default: none, for what someone else keeps: bought,
	// written with `vault kv put`, or another hub's.
	Issuer IssuerNames `yaml:"issuer"`
	// KeyType is the kind of its key: ec256, ec384, rsa2048, rsa3072 or rsa4096.
	// An issuer of type kubernetes takes what there is. Default: ec256.
	KeyType anycert.KeyType `yaml:"key_type"`
	// ReuseKey keeps the key at each renewal, for clients that pin it. Otherwise
	// each renewal makes a new one.
	ReuseKey bool `yaml:"reuse_key"`
	// Suspend freezes it: it is neither issued nor pushed.
	Suspend bool `yaml:"suspend"`
	// Verify lists where the world is served it, whichever sink is behind that, but for
	// a canary, which has its own; false: nobody looks there. Default: what its sinks
	// say.
	Verify Verify `yaml:"verify"`
}

// Sink declares one place.
type Sink struct {
	// Name is its name in everything that is shown.
	Name string `yaml:"name"`
	// Type is the kind of place: file, fastly, fly or kubernetes.
	Type string `yaml:"type"`
	// Certificates are the names of those that belong there, or ["*"] for all
	// that are declared.
	Certificates []string `yaml:"certificates"`
	// Suspend freezes it: nothing is pushed there.
	Suspend bool `yaml:"suspend"`
	// Canary has each new version of its certificates go here first. The other sinks
	// follow when it was seen here, where `verify` looks too, and has been here for
	// reconcile.soak; or when what they serve has less than a third of its life left.
	Canary bool `yaml:"canary"`
	// Verify lists where the world is served what is there; false: nobody looks. Each
	// address counts for the certificates that are for its name. Default: nowhere; for
	// fastly and fly each name but wildcards, at port 443, that is not listed.
	Verify Verify `yaml:"verify"`
	// Config is for the type: see its own table.
	Config strict.Node `yaml:"config"`

	config anycert.SinkConfig // what Config holds; nil when the type is unknown
}

// Reconcile says how often everything is compared.
type Reconcile struct {
	// Schedule is "@every DURATION", 5s at least, or five fields as in a crontab
	// (https://pkg.go.dev/github.com/robfig/cron/v3). The first pass begins at
	// the start. Default: @every 1m.
	Schedule string `yaml:"schedule"`
	// Soak is how long a canary must have had a new version before the other sinks
	// follow. Default: 10m.
	Soak *time.Duration `yaml:"soak"`
	// Brake says how much may change at once without a person's word.
	Brake Brake `yaml:"brake"`
}

// Brake says how much may change at once without a person's word: a wrong store would be
// everywhere within the minute. A pass that would replace more than a share of the valid
// certificates by something that no issuer just made waits for `anycert sync --yes`. What
// is missing is always created.
type Brake struct {
	// Percent is the share of the valid certificates at all targets; 100 lets
	// everything through. Default: 30.
	Percent *int `yaml:"percent"`
	// Targets is how many targets there must be for the brake to count. Default: 10.
	Targets *int `yaml:"targets"`
}

// What holds where the file does not say otherwise.
const (
	DefaultSchedule     = "@every 1m"
	DefaultSoak         = 10 * time.Minute
	DefaultBrakePercent = 30
	DefaultBrakeTargets = 10
)

// soak is how long canaries soak.
func (r Reconcile) soak() time.Duration { return or(r.Soak, DefaultSoak) }

// brake is the one in force.
func (r Reconcile) brake() reconcile.Brake {
	return reconcile.Brake{Percent: or(r.Brake.Percent, DefaultBrakePercent), Targets: or(r.Brake.Targets, DefaultBrakeTargets)}
}

// or is what was said, or else what holds then.
func or[T any](said *T, otherwise T) T {
	if said == nil {
		return otherwise
	}
	return *said
}

// declared are the certificates as the other parts know them.
func (c *Config) declared() []anycert.Certificate {
	certificates := make([]anycert.Certificate, len(c.Certificates))
	for i, certificate := range c.Certificates {
		certificates[i] = anycert.Certificate{
			Name:        certificate.Name,
			Description: certificate.Description,
			Owner:       certificate.Owner,
			Domains:     certificate.Domains,
			Issuer:      certificate.Issuer.first(),
			Fallbacks:   certificate.Issuer.others(),
			KeyType:     cmp.Or(certificate.KeyType, anycert.EC256),
			ReuseKey:    certificate.ReuseKey,
			Suspended:   certificate.Suspend,
			Canary:      c.canaried(certificate.Name),
		}
	}
	return certificates
}

// canaried reports whether a new version of a certificate goes to one sink first.
func (c *Config) canaried(name string) bool {
	first, others := false, false
	for _, sink := range c.Sinks {
		if !slices.Contains(sink.Certificates, name) && !slices.Contains(sink.Certificates, all) {
			continue
		}
		first, others = first || sink.Canary, others || !sink.Canary
	}
	return first && others
}

// all is what a sink's list of certificates says for every declared one.
const all = "*"

// of are the certificates that belong into a sink, in the order of the file.
func (s Sink) of(certificates []anycert.Certificate) []anycert.Certificate {
	if slices.Contains(s.Certificates, all) {
		return certificates
	}
	wanted := map[string]bool{}
	for _, name := range s.Certificates {
		wanted[name] = true
	}
	var belonging []anycert.Certificate
	for _, certificate := range certificates {
		if wanted[certificate.Name] {
			belonging = append(belonging, certificate)
		}
	}
	return belonging
}
