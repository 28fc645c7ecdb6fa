package e2e

import (
	"fmt"

	"github.com/anycert/anycert/sinks/fastly/fastlytest"
)

// atFastly finds a certificate object by its id.
func (w *world) atFastly(id string) fastlytest.Certificate {
	w.t.Helper()
	for _, certificate := range w.fastly.Certificates() {
		if certificate.ID == id {
			return certificate
		}
	}
	w.t.Fatalf("Fastly has no certificate %q", id)
	return fastlytest.Certificate{}
}

func (c careless) breakagesAtFastly() []breakage {
	at := func(certificate, domain string) place {
		return place{certificate, "edge", tlsConfiguration + "/" + domain}
	}
	active := func(c careless, domain string) string { return c.fastly.Active(tlsConfiguration, domain) }
	return []breakage{
		{"Fastly: longer-lived and self-signed, under our name", at("api", "api.example.com"), "replace", "another certificate is there, valid until 2099-12-31", func(c careless) error {
			return c.fastly.ReplaceCertificate(active(c, "api.example.com"), c.forever(true, "api.example.com").ChainPEM)
		}},
		{"Fastly: activation moved", at("example", "example.com"), "replace", "another certificate is there", func(c careless) error {
			pair := c.forever(false, "example.com")
			if _, err := c.fastly.AddKey("somebody's key", pair.KeyPEM); err != nil {
				return err
			}
			id, err := c.fastly.AddCertificate("somebody's certificate", pair.ChainPEM)
			c.fastly.Activate(tlsConfiguration, "example.com", id)
			return err
		}},
		{"Fastly: deleted", at("api", "api.example.com"), "create", "nothing is there", func(c careless) error {
			c.fastly.RemoveCertificate(active(c, "api.example.com"))
			return nil
		}},
		{"Fastly: deactivated", at("example", "*.example.com"), "mend", "activation: it is not activated", func(c careless) error {
			c.fastly.Deactivate(tlsConfiguration, "*.example.com")
			return nil
		}},
		{"Fastly: an older one of ours, as it was then", at("api", "api.example.com"), "replace", "another certificate is there", func(c careless) error {
			id := active(c, "api.example.com")
			c.fastly.RenameCertificate(id, c.olderNames["api"])
			return c.fastly.ReplaceCertificate(id, c.older["api"].chain)
		}},
		{"Fastly: private key deleted", at("api", "api.example.com"), "mend", "key: the private key of certificate", func(c careless) error {
			sum := sha1Of(c.truth("api").leaf)
			for _, key := range c.fastly.Keys() {
				if key.SHA1 == sum {
					c.fastly.RemoveKey(key.ID)
					return nil
				}
			}
			return fmt.Errorf("there is no key %s", sum)
		}},
	}
}

func (c careless) breakagesAtFly() []breakage {
	return []breakage{
		{"Fly.io: deleted", place{"example", "app", "*.example.com"}, "create", "nothing is there", func(c careless) error {
			c.fly.DeleteCustom(flyApp, "*.example.com")
			return nil
		}},
		{"Fly.io: hostname deleted", place{"example", "app", "example.com"}, "create", "nothing is there", func(c careless) error {
			c.fly.DeleteHostname(flyApp, "example.com")
			return nil
		}},
		{"Fly.io: longer-lived and self-signed", place{"api", "app-api", "api.example.com"}, "replace", "another certificate is there, valid until 2099-12-31", func(c careless) error {
			pair := c.forever(true, "api.example.com")
			return c.fly.ReplaceCustom(flyAPIApp, "api.example.com", pair.ChainPEM, pair.KeyPEM)
		}},
		{"Fly.io: an older one of ours", place{"example", "app", "example.com"}, "replace", "another certificate is there", func(c careless) error {
			older := c.older["example"]
			return c.fly.ReplaceCustom(flyApp, "example.com", older.chain, older.key)
		}},
	}
}
