package store

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/anycert/anycert"
)

// rights in short: "read,patch secret/metadata/anycert/certs/example".
func short(rights []Right) []string {
	var lines []string
	for _, r := range rights {
		lines = append(lines, strings.Join(r.Capabilities, ",")+" "+r.Path)
	}
	return lines
}

func TestPolicy(t *testing.T) {
	need := Need{
		Certificates: []anycert.Certificate{{Name: "example", Issuer: "letsencrypt"}, {Name: "shop"}},
		Orders:       true,
		Ordered:      []string{"example"},
		Accounts:     []string{"letsencrypt"},
		Alarms:       "hub",
		Fields:       []Field{{"secret/credentials/dns#token", "issuers[0].dns.settings.TOKEN"}, {"secret/credentials/dns#user", "issuers[0].dns.settings.USER"}, {"kv/edge#token", "sinks[0].config.token"}},
	}
	tests := map[string]struct {
		role   anycert.Role
		config Config
		need   Need
		want   []string
	}{
		"hub": {anycert.Hub, Config{Auth: Auth{Method: "approle"}}, need, []string{
			"patch,read secret/metadata/anycert/certs/example",
			"create,read,update secret/data/anycert/certs/example",
			"patch,read secret/metadata/anycert/certs/shop",
			"read secret/data/anycert/certs/shop",
			"list secret/metadata/anycert/certs/",
			"create,read,update secret/data/anycert/orders/example",
			"delete secret/metadata/anycert/orders/example",
			"create,read,update secret/data/anycert/renewals/example",
			"create,read,update secret/data/anycert/requests/example",
			"delete secret/metadata/anycert/requests/example",
			"update secret/destroy/anycert/certs/example",
			"list secret/metadata/anycert/orders/",
			"list secret/metadata/anycert/requests/",
			"create,read,update secret/data/anycert/accounts/letsencrypt",
			"create,read,update secret/data/anycert/budgets/letsencrypt",
			"create,read,update secret/data/anycert/alarms/hub",
			"read secret/data/credentials/dns",
			"read kv/data/edge",
			"update auth/token/renew-self",
			"update auth/token/revoke-self",
			"update sys/capabilities-self",
		}},
		"hub with nothing yet": {anycert.Hub, Config{}, Need{}, []string{
			"list secret/metadata/anycert/certs/",
			"read auth/token/lookup-self",
			"update auth/token/renew-self",
			"update sys/capabilities-self",
		}},
		"follower": {anycert.Follower, Config{Mount: "kv/team", Prefix: "tls/prod", Auth: Auth{Method: "kubernetes"}},
			Need{Certificates: need.Certificates[:1], Fields: []Field{{"kv/team/edge#token", "sinks[0].config.token"}}}, []string{
				"read kv/team/metadata/tls/prod/certs/example",
				"read kv/team/data/tls/prod/certs/example",
				"read kv/team/data/edge",
				"update auth/token/revoke-self",
				"update sys/capabilities-self",
			}},
		"auditor of a hub": {anycert.Auditor, Config{}, Need{Certificates: need.Certificates[:1], Orders: true, Ordered: need.Ordered, Accounts: need.Accounts}, []string{
			"read secret/metadata/anycert/certs/example",
			"read secret/data/anycert/renewals/example",
			"read secret/data/anycert/requests/example",
			"list secret/metadata/anycert/requests/",
			"read secret/data/anycert/budgets/letsencrypt",
			"list secret/metadata/anycert/certs/",
		}},
		"auditor": {anycert.Auditor, Config{Auth: Auth{Method: "jwt"}}, Need{Certificates: need.Certificates}, []string{
			"read secret/metadata/anycert/certs/example",
			"read secret/metadata/anycert/certs/shop",
			"list secret/metadata/anycert/certs/",
			"update auth/token/revoke-self",
		}},
		"laptop": {anycert.Laptop, Config{Auth: Auth{Method: "kubernetes"}}, Need{Certificates: need.Certificates[:1]}, []string{
			"read secret/metadata/anycert/certs/example",
			"read secret/data/anycert/certs/example",
			"list secret/metadata/anycert/certs/",
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.need.Role = test.role
			got, err := test.config.Policy(test.need)
			check(t, err)
			if diff := cmp.Diff(test.want, short(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			for _, right := range got {
				if right.Why == "" || strings.ContainsAny(right.Why, "\n\"") {
					t.Errorf("%s: why is %q", right.Path, right.Why)
				}
			}
		})
	}
}

func TestPolicyRefusesWhatIsNoReference(t *testing.T) {
	_, err := Config{}.Policy(Need{Role: anycert.Hub, Fields: []Field{{"secret/data/x#y", "sinks[0].config.token"}}})
	if err == nil || !strings.Contains(err.Error(), "sinks[0].config.token") || !strings.Contains(err.Error(), "without data/") {
		t.Errorf("the error is %v", err)
	}
}

func TestHCL(t *testing.T) {
	want := `# one: why
path "secret/metadata/one" {
  capabilities = ["patch", "read"]
}

# two
path "secret/metadata/" {
  capabilities = ["list"]
}
`
	got := HCL([]Right{{"secret/metadata/one", []string{"patch", "read"}, "one: why"}, {"secret/metadata/", []string{"list"}, "two"}})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
