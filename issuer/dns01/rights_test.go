package dns01

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/anycert/anycert/internal/testenv/parts"
	"github.com/anycert/anycert/internal/testenv/process"
)

func provider(name string, zones []string, settings map[string]string) Provider {
	p := Provider{Provider: name, Zones: zones, Settings: Settings{}}
	for key, text := range settings {
		p.Settings[key] = Setting{Plain: text}
	}
	return p
}

func TestGrantsOfRFC2136(t *testing.T) {
	config := Config{provider("rfc2136", nil, map[string]string{"DNSUPDATE_TSIG_KEY": "acme"})}
	want := `# DNS provider rfc2136: TXT records at _acme-challenge.example.com, _acme-challenge.www.example.com
# BIND, in each zone of these names:
update-policy {
  grant acme. name _acme-challenge.example.com. TXT;
  grant acme. name _acme-challenge.www.example.com. TXT;
};
# Knot, and in each zone of these names acl: [anycert]
acl:
  - id: anycert
    key: acme.
    action: update
    update-type: [TXT]
    update-owner: name
    update-owner-match: equal
    update-owner-name: [_acme-challenge.example.com., _acme-challenge.www.example.com.]

# Smaller: a zone that holds nothing else, at any provider, takes these records, and CNAMEs lead there.
# The right above is then needed in that zone alone. With --delegate ZONE all of it is printed for yours;
# for acme.example.net:
# In the zones of the domains, once and for good: from then on nobody needs a right there.
#   _acme-challenge.example.com.     IN CNAME example.com.acme.example.net.
#   _acme-challenge.www.example.com. IN CNAME www.example.com.acme.example.net.
`
	if diff := cmp.Diff(want, string(config.Grants([]string{"example.com", "*.example.com", "www.example.com"}, ""))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestGrantsAreRouted(t *testing.T) {
	clouds := Config{provider("route53", []string{"example.org"}, map[string]string{"AWS_HOSTED_ZONE_ID": "Z123"}), provider("cloudflare", nil, nil)}
	delegating := Config{provider("rfc2136", []string{"acme.example.net"}, nil), provider("cloudflare", nil, nil)}
	tests := map[string]struct {
		config   Config
		delegate string
		has      []string
		hasNot   []string
	}{
		"two providers": {clouds, "",
			[]string{"route53: TXT records at _acme-challenge.a.example.org\n", "hostedzone/Z123", "cloudflare: TXT records at _acme-challenge.example.com\n", "DNS / Edit", "With --delegate"},
			[]string{"ListHostedZonesByName"}},
		"the configuration delegates": {delegating, "",
			[]string{"_acme-challenge.example.com.   IN CNAME example.com.acme.example.net.\n", "_acme-challenge.a.example.org. IN CNAME a.example.org.acme.example.net.\n",
				"grant KEY. name example.com.acme.example.net. TXT;"},
			[]string{"cloudflare", "--delegate"}},
		"asked to delegate": {Config{provider("gcloud", nil, map[string]string{"GCE_PROJECT": "dns-1"})}, "acme.example.net",
			[]string{"IN CNAME example.com.acme.example.net.\n", "gcloud: TXT records at example.com.acme.example.net, a.example.org.acme.example.net\n", "--project dns-1 --permissions", "dns.managedZones.list"},
			[]string{"--delegate"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := string(test.config.Grants([]string{"example.com", "*.example.com", "a.example.org"}, test.delegate))
			for _, text := range test.has {
				if !strings.Contains(got, text) {
					t.Errorf("it does not say %q:\n%s", text, got)
				}
			}
			for _, text := range test.hasNot {
				if strings.Contains(got, text) {
					t.Errorf("it says %q:\n%s", text, got)
				}
			}
		})
	}
}

func TestGrantsOfEveryProvider(t *testing.T) {
	for _, name := range Names() {
		got := string(Config{provider(name, []string{"example.com"}, nil)}.Grants([]string{"example.com"}, ""))
		head, rest, _ := strings.Cut(got, "\n")
		if head != "# DNS provider "+name+": TXT records at _acme-challenge.example.com" || len(rest) < 40 {
			t.Errorf("%s:\n%s", name, got)
		}
	}
}

func TestGrantsOfRoute53AreJSON(t *testing.T) {
	text := grant{provider("route53", nil, nil), []string{"_acme-challenge.example.com"}}.route53()
	var policy struct{ Statement []statement }
	if err := json.Unmarshal([]byte(text[strings.Index(text, "{"):]), &policy); err != nil {
		t.Fatal(err)
	}
	if n := len(policy.Statement); n != 4 || policy.Statement[0].Condition["ForAllValues:StringEquals"]["route53:ChangeResourceRecordSetsNormalizedRecordNames"][0] != "_acme-challenge.example.com" {
		t.Errorf("%s", text)
	}
}

// Real servers take, with the lines as they are printed, what anycert writes, and
// refuse everything else.
func TestTheLinesForNameServers(t *testing.T) {
	lines := string(Config{provider("rfc2136", nil, map[string]string{"DNSUPDATE_TSIG_KEY": "acme."})}.Grants([]string{"example.com", "*.example.com"}, ""))
	_, rest, _ := strings.Cut(lines, "update-policy {")
	policy, _, _ := strings.Cut("update-policy {"+rest, "# Knot")
	_, acl, _ := strings.Cut(lines, "\nacl:\n")
	acl, _, _ = strings.Cut("acl:\n"+acl, "\n\n")
	for name, start := range map[string]func(*testing.T, string, string, string) []string{
		"BIND": func(t *testing.T, dir, port, secret string) []string {
			config := fmt.Sprintf("options { directory %[1]q; pid-file \"%[1]s/pid\"; session-keyfile \"%[1]s/session\"; listen-on port %[2]s { 127.0.0.1; }; listen-on-v6 { none; }; recursion no; notify no; };\n"+
				"controls { };\nkey acme. { algorithm hmac-sha256; secret %[3]q; };\nzone example.com { type primary; file \"zone\";\n%[4]s};\n", dir, port, secret, policy)
			return []string{"named", "-c", writeFile(t, dir, "conf", config), "-g", "-n", "1"}
		},
		"Knot": func(t *testing.T, dir, port, secret string) []string {
			config := fmt.Sprintf("server:\n  rundir: %[1]q\n  listen: 127.0.0.1@%[2]s\ndatabase:\n  storage: %[1]q\nkey:\n  - id: acme.\n    algorithm: hmac-sha256\n    secret: %[3]s\n"+
				"%[4]s\nzone:\n  - domain: example.com\n    storage: %[1]q\n    file: zone\n    acl: [anycert]\n", dir, port, secret, acl)
			return []string{"knotd", "-c", writeFile(t, dir, "conf", config)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, secret := t.TempDir(), base64.StdEncoding.EncodeToString([]byte(rand.Text()))
			writeFile(t, dir, "zone", "$ORIGIN example.com.\n$TTL 60\n@ IN SOA ns hostmaster 1 60 60 3600 1\n@ IN NS ns\nns IN A 127.0.0.1\n")
			address, err := process.FreeAddr()
			if err != nil {
				t.Fatal(err)
			}
			_, port, _ := net.SplitHostPort(address)
			command := start(t, dir, port, secret)
			program, err := parts.Program(command[0])
			if err != nil {
				t.Fatal(err)
			}
			server, err := process.Start(process.Spec{Name: command[0], Path: program, Args: command[1:], Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(server.Stop)
			writer := &rfc2136{server: address, zones: []string{"example.com"}, key: "acme.", algorithm: dns.HmacSHA256, secret: secret, ttl: 60, perExchange: 5 * time.Second}
			allowed := record{Challenge: Challenge{Domain: "example.com", KeyAuth: "a"}, name: "_acme-challenge.example.com."}
			if err := server.WaitUntil(t.Context(), "takes what anycert writes", func(ctx context.Context) error { return writer.present(ctx, allowed) }); err != nil {
				t.Fatal(err)
			}
			if err := writer.cleanUp(t.Context(), allowed); err != nil {
				t.Errorf("it does not take it back: %v", err)
			}
			for _, other := range []string{"www.example.com.", "example.com.", "a._acme-challenge.example.com.", "_acme-challenge.www.example.com."} {
				if err := writer.present(t.Context(), record{Challenge: allowed.Challenge, name: other}); !refused(err) {
					t.Errorf("a TXT record at %s: %v", other, err)
				}
			}
			address4 := func(message *dns.Msg, _ []dns.RR) {
				message.Insert([]dns.RR{&dns.A{Hdr: dns.RR_Header{Name: allowed.name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(127, 0, 0, 1)}})
			}
			if err := writer.update(t.Context(), allowed, address4); !refused(err) {
				t.Errorf("an A record: %v", err)
			}
		})
	}
}

// refused reports whether a server refused an update: Knot answers NOTAUTH, unsigned,
// where no acl allows it.
func refused(err error) bool {
	return err != nil && (strings.Contains(err.Error(), "REFUSED") || strings.Contains(err.Error(), "NOTAUTH"))
}

func writeFile(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestChallengeNames(t *testing.T) {
	got := challengeNames([]string{"*.example.com", "example.com", "a.example.com"})
	if !slices.Equal(got, []string{"_acme-challenge.example.com", "_acme-challenge.a.example.com"}) {
		t.Errorf("%q", got)
	}
}
