package dns01

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-acme/lego/v4/challenge"
)

// builtin are the providers that every build has. They are made from lego's
// Config structs, which leaves the environment of the process out of it; defaults
// are lego's own.
func builtin() map[string]func() spec {
	return map[string]func() spec{
		"acme-dns":     acmeDNSSpec,
		"azuredns":     azureSpec,
		"cloudflare":   cloudflareSpec,
		"digitalocean": digitalOceanSpec,
		"dnsimple":     dnsimpleSpec,
		"gandiv5":      gandiSpec,
		"gcloud":       gcloudSpec,
		"godaddy":      godaddySpec,
		"hetzner":      hetznerSpec,
		"httpreq":      httpreqSpec,
		"linode":       linodeSpec,
		"namecheap":    namecheapSpec,
		"ovh":          ovhSpec,
		"porkbun":      porkbunSpec,
		"rfc2136":      rfc2136Spec,
		"route53":      route53Spec,
		"vultr":        vultrSpec,
	}
}

// find returns the description of a provider.
func find(name string) (spec, bool) {
	if describe, ok := builtin()[name]; ok {
		return describe(), true
	}
	return other(name)
}

// Names lists the providers of this build.
func Names() []string {
	return slices.Sorted(slices.Values(append(slices.Collect(maps.Keys(builtin())), others()...)))
}

// times are what most providers are told about time.
type times struct {
	ttl               int
	timeout, interval time.Duration
	client            *http.Client
}

// times reads the settings of paced, whose defaults differ from provider to
// provider.
func (v *values) times(prefix string, ttl int, timeout, interval time.Duration) times {
	return times{
		ttl:      v.number(prefix+"TTL", ttl),
		timeout:  v.duration(prefix+"PROPAGATION_TIMEOUT", timeout),
		interval: v.duration(prefix+"POLLING_INTERVAL", interval),
		client:   &http.Client{Timeout: v.duration(prefix+"HTTP_TIMEOUT", 30*time.Second), Transport: newGuard(v.denials)},
	}
}

// list reads a setting that is a list with commas.
func (v *values) list(name string) (items []string) {
	for item := range strings.SplitSeq(v.text(name), ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}

// lego wraps what a constructor of lego returned.
func (v *values) lego(provider challenge.Provider, err error) (backend, error) {
	if v.err != nil {
		return nil, v.err
	}
	if err != nil {
		return nil, err
	}
	return legoBackend{provider: provider, resolvers: v.resolvers.servers, denials: v.denials}, nil
}

// exclusive is lego, for a provider whose API replaces a whole zone at once: two
// calls at a time would lose one's work.
func (v *values) exclusive(name string, provider challenge.Provider, err error) (backend, error) {
	made, err := v.lego(provider, err)
	if err != nil {
		return nil, err
	}
	b := made.(legoBackend)
	b.locks, b.exclusive = v.locks, name
	return b, nil
}

// slow runs a constructor of lego that asks the network, and waits no longer than
// the context.
func (v *values) slow(construct func() (challenge.Provider, error)) (challenge.Provider, error) {
	var made challenge.Provider
	err := legoBackend{resolvers: v.resolvers.servers}.call(v.ctx, record{}, func() (err error) {
		made, err = construct()
		return err
	})
	if err != nil {
		return nil, err
	}
	return made, nil
}

// background is for clients that outlive the call that makes them.
func (v *values) background() context.Context { return context.WithoutCancel(v.ctx) }

func unknownWord(name, word string, known ...string) error {
	return fmt.Errorf("setting %s is %q: use one of %s", name, word, strings.Join(known, ", "))
}
