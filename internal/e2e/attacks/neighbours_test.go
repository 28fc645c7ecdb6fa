package attacks

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/hashicorp/vault/api"

	"github.com/anycert/anycert/internal/testenv/certs"
)

// neighbours are other hubs, and whoever has stolen a token.
func neighbours() []attack {
	return []attack{
		{"hub-second", "a second hub, with another owner and another store, is pointed at our directory", "exit 1: `it carries the mark of the owner \"hub\"`; what is served stays", func(s *scene) string {
			s.issued("example", certs.Options{})
			s.Kept(s.Report(0, s.config(toFiles), "sync"))
			before := s.served()
			s.issued("example", certs.Options{})
			path := s.File("second.yaml", strings.Replace(read(s, "config.yaml"), "owner: hub", "owner: other", 1))
			told := told(s.Run(path, "sync"), `it carries the mark of the owner "hub"`)
			if s.served() != before {
				return told + "; what is served was changed"
			}
			return told + "; what is served stays"
		}},
		{"hub-prune", "it runs `prune --yes` there", "exit 0; what is served stays", func(s *scene) string {
			s.issued("example", certs.Options{})
			s.Kept(s.Report(0, s.config(toFiles), "sync"))
			before := s.served()
			path := s.File("second.yaml", strings.Replace(strings.Replace(read(s, "config.yaml"), "owner: hub", "owner: other", 1), "certificates: [{name: example, domains: [example.com]}]", "certificates: [{name: none, domains: [none.example.com]}]", 1))
			told := told(s.Run(path, "prune", "--yes"))
			if s.served() != before {
				return told + "; what is served was changed"
			}
			return told + "; what is served stays"
		}},
		{"laptop", "the token of a laptop that may `pull` is stolen", "it reads the certificates that it may; 403 to any write, to accounts, orders and DNS credentials", stolen(`
path "secret/data/anycert/certs/*"     { capabilities = ["read"] }
path "secret/metadata/anycert/certs/*" { capabilities = ["read", "list"] }
`, true, "it reads the certificates that it may; 403 to any write, to accounts, orders and DNS credentials")},
		{"auditor", "the token of an auditor is stolen", "it reads no key; 403 to any write, to accounts, orders and DNS credentials", stolen(`
path "secret/metadata/anycert/certs/*" { capabilities = ["read", "list"] }
`, false, "it reads no key; 403 to any write, to accounts, orders and DNS credentials")},
	}
}

// stolen tries with a token all that somebody would like to do.
func stolen(policy string, reads bool, seen string) func(s *scene) string {
	return func(s *scene) string {
		s.issued("example", certs.Options{})
		policy := strings.ReplaceAll(policy, "secret/data/anycert", "secret/data/"+s.id)
		policy = strings.ReplaceAll(policy, "secret/metadata/anycert", "secret/metadata/"+s.id)
		s.Must(s.Vault.WritePolicy(s.T.Context(), s.id, policy))
		token, err := s.Vault.Token(s.T.Context(), s.id)
		s.Must(err)
		client := s.Vault.ClientWith(token)
		_, err = client.Logical().ReadWithContext(s.T.Context(), "secret/data/"+s.id+"/certs/example")
		if (err == nil) != reads {
			return fmt.Sprint("reading the key: ", err)
		}
		for _, path := range []string{"/accounts/ca", "/orders/example"} {
			if _, err := client.Logical().ReadWithContext(s.T.Context(), "secret/data/"+s.id+path); !denied(err) {
				return fmt.Sprintf("reading %s: %v", path, err)
			}
		}
		if _, err := client.Logical().ReadWithContext(s.T.Context(), "secret/data/credentials/cloudflare"); !denied(err) {
			return fmt.Sprintf("reading a DNS credential: %v", err)
		}
		data := map[string]any{"data": map[string]any{"tls.crt": "x", "tls.key": "x"}}
		for _, path := range []string{"/certs/example", "/certs/new", "/accounts/ca", "/orders/example"} {
			if _, err := client.Logical().WriteWithContext(s.T.Context(), "secret/data/"+s.id+path, data); !denied(err) {
				return fmt.Sprintf("writing %s: %v", path, err)
			}
			if _, err := client.Logical().DeleteWithContext(s.T.Context(), "secret/metadata/"+s.id+path); !denied(err) {
				return fmt.Sprintf("deleting %s: %v", path, err)
			}
		}
		return seen
	}
}

func denied(err error) bool {
	found := new(api.ResponseError)
	return errors.As(err, &found) && found.StatusCode == http.StatusForbidden
}
