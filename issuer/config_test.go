package issuer_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/issuer"
	"github.com/anycert/anycert/issuer/dns01"
)

// decode reads a configuration as the program does.
func decode(text string) (issuer.Config, error) {
	var c issuer.Config
	err := yaml.NewDecoder(bytes.NewReader([]byte(text)), yaml.Strict()).Decode(&c)
	return c, err
}

const documented = `
name: letsencrypt
directory: letsencrypt                # or letsencrypt-staging, or an https URL
email: ops@example.com
profile: tlsserver                    # optional
ca_bundle: /etc/anycert/ca.pem        # optional: a private CA, Vault's own PKI over ACME
dns:
  provider: cloudflare                # lego's name
  settings: {CF_DNS_API_TOKEN: {vault: secret/credentials/cloudflare#token}}
`

func TestDocumentedConfig(t *testing.T) {
	got, err := decode(documented)
	if err != nil {
		t.Fatal(err)
	}
	want := issuer.Config{
		Name: "letsencrypt", Directory: "letsencrypt", Email: "ops@example.com", Profile: "tlsserver", CABundle: "/etc/anycert/ca.pem",
		DNS: dns01.Config{{Provider: "cloudflare", Settings: dns01.Settings{
			"CF_DNS_API_TOKEN": {Reference: anycert.Reference{Vault: "secret/credentials/cloudflare#token"}}}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if problems := got.Check(); len(problems) > 0 {
		t.Errorf("%+v", problems)
	}
	if got.DirectoryURL() != "https://acme-v02.api.letsencrypt.org/directory" {
		t.Errorf("the directory is %s", got.DirectoryURL())
	}
}

func TestListOfProviders(t *testing.T) {
	got, err := decode(`
name: main
directory: https://ca.example.com/acme/directory
eab: {kid: abc, hmac: {file: /run/secrets/hmac}}
preferred_chain: Example Root
dns:
  - zones: [example.org, corp.example.com]
    provider: rfc2136
    resolvers: [192.0.2.53, "192.0.2.54:5353"]
    propagation: resolvers
    settings:
      DNSUPDATE_NAMESERVER: 192.0.2.53:53
      DNSUPDATE_TTL: 60
      DNSUPDATE_TSIG_KEY: acme
      DNSUPDATE_TSIG_SECRET: {env: TSIG}
  - provider: route53
    settings: {AWS_REGION: eu-central-1, AWS_PRIVATE_ZONE: true}
`)
	if err != nil {
		t.Fatal(err)
	}
	if problems := got.Check(); len(problems) > 0 {
		t.Errorf("%+v", problems)
	}
	want := dns01.Config{
		{Zones: []string{"example.org", "corp.example.com"}, Provider: "rfc2136", Resolvers: []string{"192.0.2.53", "192.0.2.54:5353"},
			Propagation: dns01.ByResolvers, Settings: dns01.Settings{
				"DNSUPDATE_NAMESERVER": {Plain: "192.0.2.53:53"}, "DNSUPDATE_TTL": {Plain: "60"}, "DNSUPDATE_TSIG_KEY": {Plain: "acme"},
				"DNSUPDATE_TSIG_SECRET": {Reference: anycert.Reference{Env: "TSIG"}}}},
		{Provider: "route53", Settings: dns01.Settings{"AWS_REGION": {Plain: "eu-central-1"}, "AWS_PRIVATE_ZONE": {Plain: "true"}}},
	}
	if diff := cmp.Diff(want, got.DNS); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestStrictDecoding: what is not known is refused, at its place.
func TestStrictDecoding(t *testing.T) {
	tests := []struct{ name, text, place string }{
		{"in the issuer", "name: a\ndirectroy: letsencrypt\n", "[2:1]"},
		{"in dns", "name: a\ndns:\n  provider: cloudflare\n  setings: {}\n", "[4:3]"},
		{"in a list", "name: a\ndns:\n  - provider: cloudflare\n    setings: {}\n", "[4:5]"},
		{"in a reference", "name: a\ndns:\n  provider: cloudflare\n  settings:\n    CF_DNS_API_TOKEN: {vualt: x}\n", "[5:24]"},
		{"a list for a setting", "name: a\ndns:\n  provider: cloudflare\n  settings:\n    CF_DNS_API_TOKEN: [x]\n", "[5:23]"},
		{"a word for dns", "name: a\ndns: cloudflare\n", "[2:6]"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if _, err := decode(test.text); err == nil || !strings.HasPrefix(err.Error(), test.place) {
				t.Errorf("got %v, want a mistake at %s", err, test.place)
			}
		})
	}
}

func TestCheckListsEveryMistake(t *testing.T) {
	tests := []struct {
		name, text string
		want       map[string]string // field: what is said of it
	}{
		{"nothing", "{}", map[string]string{"name": "missing", "directory": "missing", "dns": "no DNS provider"}},
		{"directories", strings.Replace(documented, "directory: letsencrypt ", "directory: http://127.0.0.1:14000/dir ", 1),
			map[string]string{"directory": "not https"}},
		{"no URL", strings.Replace(documented, "directory: letsencrypt ", "directory: letsencript ", 1),
			map[string]string{"directory": "letsencrypt, letsencrypt-staging"}},
		{"a loopback CA", strings.Replace(documented, "directory: letsencrypt ", "directory: https://127.0.0.1:14000/dir ", 1), map[string]string{}},
		{"mail", strings.Replace(documented, "ops@example.com", "ops", 1), map[string]string{"email": "no mail address"}},
		{"two mails", strings.Replace(documented, "ops@example.com", "a@example.com,b@example.com", 1), map[string]string{"email": "no mail address"}},
		{"eab", documented + "eab: {}", map[string]string{"eab.kid": "missing", "eab.hmac": "missing"}},
		{"a secret in the file", strings.Replace(documented, "{vault: secret/credentials/cloudflare#token}", "hunter2hunter2", 1),
			map[string]string{"dns.settings.CF_DNS_API_TOKEN": "never written in the file"}},
		{"unknown setting", strings.Replace(documented, "CF_DNS_API_TOKEN", "CF_DNS_API_TOCKEN", 1),
			map[string]string{"dns.settings.CF_DNS_API_TOCKEN": "CF_DNS_API_TOKEN", "dns.settings": "needs CLOUDFLARE_DNS_API_TOKEN, or "}},
		{"unknown provider", strings.Replace(documented, "provider: cloudflare", "provider: cloudfare", 1),
			map[string]string{"dns.provider": "cloudflare"}},
		{"two ways", strings.Replace(documented, "{vault: secret/credentials/cloudflare#token}", "{env: A, file: B}", 1),
			map[string]string{"dns.settings.CF_DNS_API_TOKEN": "exactly one"}},
		{"one setting twice", strings.Replace(documented, "settings: {", "settings: {CLOUDFLARE_DNS_API_TOKEN: {env: X}, ", 1),
			map[string]string{"dns.settings.CLOUDFLARE_DNS_API_TOKEN": "another name"}},
		{"resolvers", documented + "  resolvers: [\"http://192.0.2.1\"]\n  propagation: maybe\n",
			map[string]string{"dns.resolvers[0]": "no address", "dns.propagation": "none of"}},
		{"resolvers missing", documented + "  propagation: resolvers\n", map[string]string{"dns.propagation": "none is named"}},
		{"zones of two", "name: a\ndirectory: letsencrypt\ndns:\n  - {zones: [example.com], provider: route53}\n  - {zones: [example.com, \"*.example.org\"], provider: gcloud}\n",
			map[string]string{"dns[1].zones[0]": "example.com is named in another", "dns[1].zones[1]": "no zone"}},
		{"two without zones", "name: a\ndirectory: letsencrypt\ndns:\n  - {provider: route53}\n  - {provider: gcloud}\n",
			map[string]string{"dns[1].provider": "another entry"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, err := decode(test.text)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for _, problem := range c.Check() {
				got[problem.Field] = problem.Text
				if strings.Contains(problem.Text, "hunter2") {
					t.Errorf("a secret is shown: %s", problem.Text)
				}
			}
			for field, text := range test.want {
				if !strings.Contains(got[field], text) {
					t.Errorf("of %s it says %q, want %q", field, got[field], text)
				}
				delete(got, field)
			}
			if len(got) > 0 {
				t.Errorf("more mistakes than there are: %v", got)
			}
		})
	}
}
