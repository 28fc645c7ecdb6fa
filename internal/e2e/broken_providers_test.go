package e2e

import (
	"fmt"

	"github.com/anycert/anycert/internal/testenv/world"
	"github.com/anycert/anycert/sinks/fastly/fastlytest"
)

// atFastly finds a certificate object by its id.
func (w *scene) atFastly(id string) fastlytest.Certificate {
	w.T.Helper()
	for _, certificate := range w.Fastly.Certificates() {
		if certificate.ID == id {
			return certificate
		}
	}
	w.T.Fatalf("Fastly has no certificate %q", id)
	return fastlytest.Certificate{}
}

func (c careless) breakagesAtFastly() []breakage {
	at := func(certificate, domain string) world.Place {
		return place(certificate, "edge", world.TLSConfiguration+"/"+domain)
	}
	active := func(c careless, domain string) string { return c.Fastly.Active(world.TLSConfiguration, domain) }
	return []breakage{
		{"Fastly: longer-lived and self-signed, under our name", at("api", "api.example.com"), "replace", "another certificate is there, valid until 2099-12-31", func(c careless) error {
			return c.Fastly.ReplaceCertificate(active(c, "api.example.com"), c.forever(true, "api.example.com").ChainPEM)
		}},
		{"Fastly: activation moved", at("example", "example.com"), "replace", "another certificate is there", func(c careless) error {
			pair := c.forever(false, "example.com")
			if _, err := c.Fastly.AddKey("somebody's key", pair.KeyPEM); err != nil {
				return err
			}
			id, err := c.Fastly.AddCertificate("somebody's certificate", pair.ChainPEM)
			c.Fastly.Activate(world.TLSConfiguration, "example.com", id)
			return err
		}},
		{"Fastly: deleted", at("api", "api.example.com"), "create", "nothing is there", func(c careless) error {
			c.Fastly.RemoveCertificate(active(c, "api.example.com"))
			return nil
		}},
		{"Fastly: deactivated", at("example", "*.example.com"), "mend", "activation: it is not activated", func(c careless) error {
			c.Fastly.Deactivate(world.TLSConfiguration, "*.example.com")
			return nil
		}},
		{"Fastly: an older one of ours, as it was then", at("api", "api.example.com"), "replace", "another certificate is there", func(c careless) error {
			id := active(c, "api.example.com")
			c.Fastly.RenameCertificate(id, c.olderNames["api"])
			return c.Fastly.ReplaceCertificate(id, c.older["api"].Chain)
		}},
		{"Fastly: private key deleted", at("api", "api.example.com"), "mend", "key: the private key of certificate", func(c careless) error {
			sum := sha1Of(c.Stored("api").Leaf)
			for _, key := range c.Fastly.Keys() {
				if key.SHA1 == sum {
					c.Fastly.RemoveKey(key.ID)
					return nil
				}
			}
			return fmt.Errorf("there is no key %s", sum)
		}},
	}
}

func (c careless) breakagesAtFly() []breakage {
	return []breakage{
		{"Fly.io: deleted", place("example", "app", "*.example.com"), "create", "nothing is there", func(c careless) error {
			c.Fly.DeleteCustom(world.FlyApp, "*.example.com")
			return nil
		}},
		{"Fly.io: hostname deleted", place("example", "app", "example.com"), "create", "nothing is there", func(c careless) error {
			c.Fly.DeleteHostname(world.FlyApp, "example.com")
			return nil
		}},
		{"Fly.io: longer-lived and self-signed", place("api", "app-api", "api.example.com"), "replace", "another certificate is there, valid until 2099-12-31", func(c careless) error {
			pair := c.forever(true, "api.example.com")
			return c.Fly.ReplaceCustom(world.FlyAPIApp, "api.example.com", pair.ChainPEM, pair.KeyPEM)
		}},
		{"Fly.io: an older one of ours", place("example", "app", "example.com"), "replace", "another certificate is there", func(c careless) error {
			older := c.older["example"]
			return c.Fly.ReplaceCustom(world.FlyApp, "example.com", older.Chain, older.Key)
		}},
	}
}
