package dns01

import (
	"errors"
	"net/url"
	"time"

	"github.com/go-acme/lego/v4/challenge"
	legodns01 "github.com/go-acme/lego/v4/challenge/dns01"
	"github.com/go-acme/lego/v4/providers/dns/acmedns"
	"github.com/go-acme/lego/v4/providers/dns/cloudflare"
	"github.com/go-acme/lego/v4/providers/dns/digitalocean"
	"github.com/go-acme/lego/v4/providers/dns/dnsimple"
	"github.com/go-acme/lego/v4/providers/dns/gandiv5"
	"github.com/go-acme/lego/v4/providers/dns/godaddy"
	"github.com/go-acme/lego/v4/providers/dns/hetzner"
	"github.com/go-acme/lego/v4/providers/dns/httpreq"
	"github.com/go-acme/lego/v4/providers/dns/linode"
	"github.com/go-acme/lego/v4/providers/dns/namecheap"
	"github.com/go-acme/lego/v4/providers/dns/ovh"
	"github.com/go-acme/lego/v4/providers/dns/porkbun"
	"github.com/go-acme/lego/v4/providers/dns/vultr"
)

func cloudflareSpec() spec {
	const p, alias = "CLOUDFLARE_", "CF_"
	return spec{
		settings: append(paced(p),
			secret(p+"DNS_API_TOKEN"), also(alias+"DNS_API_TOKEN", p+"DNS_API_TOKEN"),
			secret(p+"ZONE_API_TOKEN"), also(alias+"ZONE_API_TOKEN", p+"ZONE_API_TOKEN"),
			secret(p+"API_KEY"), also(alias+"API_KEY", p+"API_KEY"),
			plain(p+"EMAIL"), also(alias+"API_EMAIL", p+"EMAIL"),
			plain(p+"BASE_URL")),
		needs: [][]string{{p + "DNS_API_TOKEN"}, {p + "EMAIL", p + "API_KEY"}},
		build: func(v *values) (backend, error) {
			t := v.times(p, legodns01.DefaultTTL, 2*time.Minute, 2*time.Second)
			return v.lego(cloudflare.NewDNSProviderConfig(&cloudflare.Config{
				AuthEmail: v.text(p + "EMAIL"),
				AuthKey:   v.text(p + "API_KEY"),
				AuthToken: v.text(p + "DNS_API_TOKEN"),
				ZoneToken: v.text(p + "ZONE_API_TOKEN"),
				BaseURL:   v.text(p + "BASE_URL"),
				TTL:       t.ttl, PropagationTimeout: t.timeout, PollingInterval: t.interval, HTTPClient: t.client,
			}))
		},
	}
}

func digitalOceanSpec() spec {
	const p = "DO_"
	return spec{
		settings: append(paced(p), secret(p+"AUTH_TOKEN"), plain(p+"API_URL")),
		needs:    [][]string{{p + "AUTH_TOKEN"}},
		build: func(v *values) (backend, error) {
			t := v.times(p, 30, time.Minute, 5*time.Second)
			return v.lego(digitalocean.NewDNSProviderConfig(&digitalocean.Config{
				BaseURL:   v.text(p + "API_URL"),
				AuthToken: v.text(p + "AUTH_TOKEN"),
				TTL:       t.ttl, PropagationTimeout: t.timeout, PollingInterval: t.interval, HTTPClient: t.client,
			}))
		},
	}
}

func dnsimpleSpec() spec {
	const p = "DNSIMPLE_"
	return spec{
		settings: append(paced(p), secret(p+"OAUTH_TOKEN"), plain(p+"BASE_URL")),
		needs:    [][]string{{p + "OAUTH_TOKEN"}},
		build: func(v *values) (backend, error) {
			t := v.times(p, legodns01.DefaultTTL, time.Minute, 2*time.Second)
			return v.lego(dnsimple.NewDNSProviderConfig(&dnsimple.Config{
				AccessToken: v.text(p + "OAUTH_TOKEN"),
				BaseURL:     v.text(p + "BASE_URL"),
				TTL:         t.ttl, PropagationTimeout: t.timeout, PollingInterval: t.interval,
			}))
		},
	}
}

func hetznerSpec() spec {
	const p = "HETZNER_"
	return spec{
		settings: append(paced(p), secret(p+"API_TOKEN"), secret(p+"API_KEY")),
		needs:    [][]string{{p + "API_TOKEN"}, {p + "API_KEY"}},
		build: func(v *values) (backend, error) {
			t := v.times(p, 60, 2*time.Minute, 2*time.Second)
			return v.lego(hetzner.NewDNSProviderConfig(&hetzner.Config{
				APIToken: v.text(p + "API_TOKEN"),
				APIKey:   v.text(p + "API_KEY"),
				TTL:      t.ttl, PropagationTimeout: t.timeout, PollingInterval: t.interval, HTTPClient: t.client,
			}))
		},
	}
}

func ovhSpec() spec {
	const p = "OVH_"
	return spec{
		settings: append(paced(p),
			plain(p+"ENDPOINT"), plain(p+"APPLICATION_KEY"), secret(p+"APPLICATION_SECRET"), secret(p+"CONSUMER_KEY"),
			plain(p+"CLIENT_ID"), secret(p+"CLIENT_SECRET"), secret(p+"ACCESS_TOKEN")),
		needs: [][]string{{p + "APPLICATION_KEY", p + "APPLICATION_SECRET", p + "CONSUMER_KEY"}, {p + "CLIENT_ID", p + "CLIENT_SECRET"}, {p + "ACCESS_TOKEN"}},
		build: func(v *values) (backend, error) {
			t := v.times(p, legodns01.DefaultTTL, time.Minute, 2*time.Second)
			config := &ovh.Config{
				APIEndpoint:       v.textOr(p+"ENDPOINT", "ovh-eu"),
				ApplicationKey:    v.text(p + "APPLICATION_KEY"),
				ApplicationSecret: v.text(p + "APPLICATION_SECRET"),
				ConsumerKey:       v.text(p + "CONSUMER_KEY"),
				AccessToken:       v.text(p + "ACCESS_TOKEN"),
				TTL:               t.ttl, PropagationTimeout: t.timeout, PollingInterval: t.interval, HTTPClient: t.client,
			}
			if v.text(p+"CLIENT_ID") != "" {
				config.OAuth2Config = &ovh.OAuth2Config{ClientID: v.text(p + "CLIENT_ID"), ClientSecret: v.text(p + "CLIENT_SECRET")}
			}
			return v.lego(ovh.NewDNSProviderConfig(config))
		},
	}
}

func gandiSpec() spec {
	const p = "GANDIV5_"
	return spec{
		settings: append(paced(p), secret(p+"PERSONAL_ACCESS_TOKEN"), secret(p+"API_KEY")),
		needs:    [][]string{{p + "PERSONAL_ACCESS_TOKEN"}, {p + "API_KEY"}},
		build: func(v *values) (backend, error) {
			t := v.times(p, 300, 20*time.Minute, 20*time.Second)
			return v.lego(gandiv5.NewDNSProviderConfig(&gandiv5.Config{
				PersonalAccessToken: v.text(p + "PERSONAL_ACCESS_TOKEN"),
				APIKey:              v.text(p + "API_KEY"),
				TTL:                 t.ttl, PropagationTimeout: t.timeout, PollingInterval: t.interval, HTTPClient: t.client,
			}))
		},
	}
}

func porkbunSpec() spec {
	const p = "PORKBUN_"
	return spec{
		settings: append(paced(p), secret(p+"API_KEY"), secret(p+"SECRET_API_KEY")),
		needs:    [][]string{{p + "API_KEY", p + "SECRET_API_KEY"}},
		build: func(v *values) (backend, error) {
			t := v.times(p, 300, 10*time.Minute, 10*time.Second)
			return v.lego(porkbun.NewDNSProviderConfig(&porkbun.Config{
				APIKey:       v.text(p + "API_KEY"),
				SecretAPIKey: v.text(p + "SECRET_API_KEY"),
				TTL:          t.ttl, PropagationTimeout: t.timeout, PollingInterval: t.interval, HTTPClient: t.client,
			}))
		},
	}
}

func namecheapSpec() spec {
	const p = "NAMECHEAP_"
	return spec{
		settings: append(paced(p), plain(p+"API_USER"), secret(p+"API_KEY"), plain(p+"SANDBOX")),
		needs:    [][]string{{p + "API_USER", p + "API_KEY"}},
		build: func(v *values) (backend, error) {
			t := v.times(p, legodns01.DefaultTTL, time.Hour, 15*time.Second)
			config := &namecheap.Config{
				BaseURL: "https://api.namecheap.com/xml.response",
				APIUser: v.text(p + "API_USER"),
				APIKey:  v.text(p + "API_KEY"),
				TTL:     t.ttl, PropagationTimeout: t.timeout, PollingInterval: t.interval, HTTPClient: t.client,
			}
			if v.flag(p+"SANDBOX", false) {
				config.BaseURL = "https://api.sandbox.namecheap.com/xml.response"
			}
			made, err := v.slow(func() (challenge.Provider, error) { return namecheap.NewDNSProviderConfig(config) })
			return v.exclusive("namecheap", made, err)
		},
	}
}

func godaddySpec() spec {
	const p = "GODADDY_"
	return spec{
		settings: append(paced(p), secret(p+"API_KEY"), secret(p+"API_SECRET")),
		needs:    [][]string{{p + "API_KEY", p + "API_SECRET"}},
		build: func(v *values) (backend, error) {
			t := v.times(p, 600, 2*time.Minute, 2*time.Second)
			return v.lego(godaddy.NewDNSProviderConfig(&godaddy.Config{
				APIKey:    v.text(p + "API_KEY"),
				APISecret: v.text(p + "API_SECRET"),
				TTL:       t.ttl, PropagationTimeout: t.timeout, PollingInterval: t.interval, HTTPClient: t.client,
			}))
		},
	}
}

func linodeSpec() spec {
	const p = "LINODE_"
	return spec{
		settings: append(paced(p), secret(p+"TOKEN")),
		needs:    [][]string{{p + "TOKEN"}},
		build: func(v *values) (backend, error) {
			t := v.times(p, 300, 2*time.Minute, 15*time.Second)
			return v.lego(linode.NewDNSProviderConfig(&linode.Config{
				Token: v.text(p + "TOKEN"),
				TTL:   t.ttl, PropagationTimeout: t.timeout, PollingInterval: t.interval, HTTPTimeout: t.client.Timeout,
			}))
		},
	}
}

func vultrSpec() spec {
	const p = "VULTR_"
	return spec{
		settings: append(paced(p), secret(p+"API_KEY")),
		needs:    [][]string{{p + "API_KEY"}},
		build: func(v *values) (backend, error) {
			t := v.times(p, legodns01.DefaultTTL, time.Minute, 2*time.Second)
			return v.lego(vultr.NewDNSProviderConfig(&vultr.Config{
				APIKey: v.text(p + "API_KEY"),
				TTL:    t.ttl, PropagationTimeout: t.timeout, PollingInterval: t.interval, HTTPTimeout: t.client.Timeout,
			}))
		},
	}
}

// acmeDNSSpec is joohoi's acme-dns. Its accounts are kept in a file or at a
// server, as lego keeps them.
func acmeDNSSpec() spec {
	const p = "ACME_DNS_"
	return spec{
		settings: []setting{plain(p + "API_BASE"), plain(p + "ALLOWLIST"), plain(p + "STORAGE_PATH"), plain(p + "STORAGE_BASE_URL")},
		needs:    [][]string{{p + "API_BASE", p + "STORAGE_PATH"}, {p + "API_BASE", p + "STORAGE_BASE_URL"}},
		build: func(v *values) (backend, error) {
			return v.lego(acmedns.NewDNSProviderConfig(&acmedns.Config{
				APIBase:        v.text(p + "API_BASE"),
				AllowList:      v.list(p + "ALLOWLIST"),
				StoragePath:    v.text(p + "STORAGE_PATH"),
				StorageBaseURL: v.text(p + "STORAGE_BASE_URL"),
			}))
		},
	}
}

// httpreqSpec hands the records to a server of one's own.
func httpreqSpec() spec {
	const p = "HTTPREQ_"
	return spec{
		settings: append(paced(p), plain(p+"ENDPOINT"), plain(p+"MODE"), plain(p+"USERNAME"), secret(p+"PASSWORD")),
		needs:    [][]string{{p + "ENDPOINT"}},
		build: func(v *values) (backend, error) {
			endpoint, err := url.Parse(v.text(p + "ENDPOINT"))
			if err != nil || endpoint.Host == "" {
				return nil, errors.New("setting HTTPREQ_ENDPOINT is no URL")
			}
			t := v.times(p, 0, time.Minute, 2*time.Second)
			return v.lego(httpreq.NewDNSProviderConfig(&httpreq.Config{
				Endpoint:           endpoint,
				Mode:               v.text(p + "MODE"),
				Username:           v.text(p + "USERNAME"),
				Password:           v.text(p + "PASSWORD"),
				PropagationTimeout: t.timeout, PollingInterval: t.interval, HTTPClient: t.client,
			}))
		},
	}
}
