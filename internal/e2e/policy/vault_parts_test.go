package policy

import (
	"strings"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/world"
)

var (
	ending  = certs.Options{Names: []string{"example.com"}, NotBefore: time.Now().AddDate(0, 0, -89), NotAfter: time.Now().Add(time.Hour)}
	expired = certs.Options{Names: []string{"shop.example.com"}, NotBefore: time.Now().AddDate(0, 0, -89), NotAfter: time.Now().Add(-time.Hour)}
	fresh   = certs.Options{Names: []string{"example.com"}}
	shop    = certs.Options{Names: []string{"shop.example.com"}}
)

// vaultParts is what is proven of the policies of Vault.
var vaultParts = []part{
	{
		role: anycert.Hub, title: "Vault: hub", config: hub, auth: anHour,
		head: "A hub that logs in by AppRole. It issues `example`, finds `shop` written by hand, and undeclared `bank` beside them.",
		before: func(s *session) {
			s.put("shop", shop)
			s.put("bank", certs.Options{Names: []string{"bank.example"}})
		},
		steps: []step{
			verb("sync"),
			{"`audit`, which is to show `bank`", func(s *session) world.Result {
				got := s.Run(s.config, "audit")
				if got.Code == 0 && !got.Says("pushed nowhere: bank") {
					got.Code = -1 // it failed to, and does not say so by its exit code
				}
				return got
			}},
			{"`sync`, with a renewal due", func(s *session) world.Result {
				s.put("example", ending)
				return s.Run(s.config, "sync")
			}},
			{"`import`", func(s *session) world.Result {
				pair := testenv.IssueFrom(s.T, s.Strangers, fresh)
				return s.Run(s.config, "import", "example", "--replace", "--cert", s.File(s.prefix+".crt", string(pair.ChainPEM)), "--key", s.File(s.prefix+".key", string(pair.KeyPEM)))
			}},
			verb("renew", "example"),
			verb("renew", "example", "--reason", "compromised"),
			verb("status"),
			verb("prune", "--yes"),
			verb("check", "--connect"),
		},
	},
	{
		role: anycert.Hub, title: "Vault: hub, whose secret id is good for one login", config: hub,
		head:   "What keeps the token of a daemon alive. Its tokens live for three seconds.",
		auth:   func(s *session, hcl string) string { return s.appRole(hcl, "3s", 1) },
		before: func(s *session) { s.put("shop", shop); s.asRoot(follower, "sync") },
		steps:  []step{{"`run`, when the token's time is over", outlive}},
		about:  life,
	},
	{
		role: anycert.Hub, title: "Vault: hub that is given a token", config: hub,
		head:   "What keeps a token alive that nobody can replace. It lives for three seconds.",
		auth:   func(s *session, hcl string) string { return s.token(hcl, "3s") },
		before: func(s *session) { s.put("shop", shop); s.asRoot(follower, "sync") },
		steps:  []step{{"`run`, when the token's time is over", outlive}},
		about:  life,
	},
	{
		role: anycert.Follower, title: "Vault: follower", config: follower, auth: anHour,
		head: "A follower of two certificates, which a hub keeps.",
		before: func(s *session) {
			s.put("example", fresh)
			s.put("shop", shop)
			s.asRoot(follower, "sync")
			s.dir += "-own"
		},
		steps: []step{verb("sync"), verb("status"), verb("check", "--connect")},
	},
	{
		role: anycert.Follower, title: "Vault: follower, or hub, that tells of alarms", config: telling, auth: anHour,
		head: "What a daemon keeps of what it told. An alarm is on: `shop` has expired.",
		before: func(s *session) {
			s.put("example", fresh)
			s.put("shop", expired)
			s.Run(s.write("root", follower, s.Root()), "sync") // which indexes both, and fails for one
			s.dir += "-own"
			s.listen()
		},
		steps: []step{{"`run`", tell}},
		about: func(c capability) bool { return strings.Contains(c.path, "/alarms/") },
	},
	{
		role: anycert.Auditor, title: "Vault: auditor", config: hub, auth: anHour,
		head: "An auditor with the hub's configuration, when all is well. `bank` is in the store and not declared, and somebody asked for another `example`.",
		before: func(s *session) {
			s.put("example", fresh)
			s.put("shop", shop)
			s.asRoot(follower, "sync")
			s.put("bank", certs.Options{Names: []string{"bank.example"}})
			s.ask("example")
		},
		steps: []step{verb("audit"), verb("status")},
	},
	{
		role: anycert.Laptop, title: "Vault: laptop", config: follower,
		head: "A person who pulls with a token of their own.",
		auth: func(s *session, hcl string) string { return s.token(hcl, "1h") },
		before: func(s *session) {
			s.put("example", fresh)
			s.put("shop", shop)
			s.asRoot(follower, "sync")
			s.dir += "-own"
		},
		steps: []step{
			{"`pull example shop`", func(s *session) world.Result {
				return s.Run(s.config, "pull", "--dir", s.dir, "example", "shop")
			}},
			{"`pull` of all that there is", func(s *session) world.Result {
				none := s.File(s.prefix+"-none.yaml", strings.SplitN(s.read(s.config), "certificates:", 2)[0])
				return s.Run(none, "pull", "--dir", s.dir)
			}},
		},
	},
}
