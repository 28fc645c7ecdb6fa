package laptop

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/vaultserver"
)

// difference is the JSON of diff, as a script reads it.
type difference struct {
	Schema       int
	Sides        [2]string
	Certificates []struct {
		Name    string
		Differs []string
		Sides   [2]*struct {
			Names, Targets []string
			Version        int
			Digest         string
		}
	}
	Unknown []struct{ Side, Why string }
}

// put writes a certificate below another prefix, as `vault kv put` does, and has it
// indexed.
func (l laptop) put(prefix, certificate string, pair certs.Pair) {
	l.T.Helper()
	_, err := l.Vault.Client().KVv2("secret").Put(l.T.Context(), prefix+"/certs/"+certificate, map[string]any{"tls.crt": string(pair.ChainPEM), "tls.key": string(pair.KeyPEM)})
	l.Must(err)
	config := l.Config(prefix+"-index.yaml", `version: 1
owner: hub
store: {vault: {address: "{{.Vault.Addr}}", prefix: `+prefix+`, auth: {{.Root}}}}
certificates: [{name: `+certificate+`, domains: ["`+pair.Leaf().DNSNames[0]+`"]}]
sinks: [{name: files, type: file, certificates: ["*"], config: {dir: {{.Files}}/`+prefix+`}}]
`, l.World)
	if got := l.Run(config, "sync"); got.Code != 0 {
		l.T.Fatal(got)
	}
}

func TestDiff(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	issue := func(names ...string) certs.Pair {
		return testenv.IssueFrom(t, l.Strangers, certs.Options{Names: names})
	}
	l.put("anycert", "example", issue("example.com"))
	l.put("anycert", "shop", issue("shop.example.com"))
	same := issue("same.example.com")
	l.put("anycert", "same", same)
	l.put("staging", "same", issue("same.example.com"))
	l.put("staging", "same", same) // another number, the same chain
	l.put("staging", "example", issue("staging.example.com"))
	l.put("staging", "beta", issue("beta.example.com"))

	mark, err := l.Vault.Mark()
	l.Must(err)
	l.wants(l.run("diff", "prod", "staging"), 2,
		"CERTIFICATE DIFFERS prod staging",
		"beta certificate - has it",
		"example names example.com staging.example.com",
		"example version version 2, expires ",
		"shop certificate has it -",
		"1 certificate the same")
	got := l.run("diff", "prod", "staging", "-o", "json")
	var report difference
	if err := json.Unmarshal([]byte(got.Stdout), &report); err != nil || got.Code != 2 || report.Schema != 1 || report.Sides != [2]string{"prod", "staging"} {
		t.Fatal(got, err)
	}
	var differs []string
	for _, c := range report.Certificates {
		differs = append(differs, c.Name+":"+strings.Join(c.Differs, ","))
	}
	if got := strings.Join(differs, " "); got != "beta:certificate example:names,version same: shop:certificate" {
		t.Error(got)
	}
	l.wants(l.run("diff", "prod", "prod"), 0, "3 certificates the same")
	requests, err := l.Vault.Requests(mark)
	l.Must(err)
	if reads, writes := vaultserver.KeyReads(requests), vaultserver.Writes(requests); len(reads)+len(writes) > 0 {
		t.Errorf("diff read keys %v and wrote %v", reads, writes)
	}

	l.wants(l.run("diff", "prod", "test"), 1, `no environment "test"`)
	l.wants(l.run("diff", "prod"), 1, "compares two")
	l.wants(l.run("diff", "./no.yaml", "prod"), 1, "no such file")
	l.wants(l.run("diff", "prefix:../x", "prod"), 1)
}

const declared = `version: 1
owner: hub
store: {vault: {address: "%ADDRESS%", auth: {method: token}}}
certificates: [{name: example, domains: [%DOMAINS%]}]
sinks:
  - {name: nginx, type: file, certificates: ["*"], config: {dir: %DIR%}}
`

// Configurations know what is declared and where it goes, prefixes what is stored.
func TestDiffOfConfigurationsAndPrefixes(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	config := func(name, domains, dir, more string) string {
		text := strings.NewReplacer("%ADDRESS%", l.Vault.Addr, "%DOMAINS%", domains, "%DIR%", dir).Replace(declared)
		return l.write(name, text+more)
	}
	l.put("anycert", "example", testenv.IssueFrom(t, l.Strangers, certs.Options{Names: []string{"example.com"}}))
	config("one.yaml", "example.com", "/etc/one", "")
	config("two.yaml", "example.com, www.example.com", "/etc/two", "")
	config("three.yaml", "example.com", "/etc/one", "  - {name: far, type: kubernetes, certificates: [example], config: {kubeconfig: /nowhere, namespaces: [web]}}\n")
	l.wants(l.run("diff", "one.yaml", "two.yaml"), 2,
		"example names example.com example.com, www.example.com",
		"example targets nginx//etc/one/example nginx//etc/two/example")
	l.wants(l.run("diff", "one.yaml", "prod"), 0, "1 certificate the same")
	l.wants(l.run("diff", "one.yaml", "three.yaml"), 1, "three.yaml: could not be told: the targets of sink far: ", "/nowhere")
	l.wants(l.run("diff", "--config", "one.yaml", "prefix:anycert", "prefix:staging"), 2, "example certificate has it -")

	l.Must(l.Vault.WritePolicy(t.Context(), "laptop", `path "secret/metadata/anycert/certs" { capabilities = ["list"] }`))
	l.wants(l.run("diff", "prod", "prod"), 1, "could not be told: certificate example: ", "permission denied", "0 certificates the same")
	l.wants(l.run("diff", "prod", "staging"), 1, "staging: could not be told: listing its certificates: ")
}

// What an environment pulls is no word on what its store has: both stores are asked for
// whatever one of the two sides has.
func TestDiffAsksForWhatIsNotPulled(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	environments := l.read(".config/anycert/environments.yaml")
	l.write(".config/anycert/environments.yaml", strings.Replace(environments, "dir: ~/certs", "dir: ~/certs\n    certificates: [example]", 1))
	for _, name := range []string{"example", "shop"} {
		pair := testenv.IssueFrom(t, l.Strangers, certs.Options{Names: []string{name + ".example.com"}})
		l.put("anycert", name, pair)
		l.put("staging", name, pair)
	}
	l.wants(l.run("diff", "prod", "staging"), 0, "2 certificates the same")
	l.put("staging", "beta", testenv.IssueFrom(t, l.Strangers, certs.Options{Names: []string{"beta.example.com"}}))
	l.wants(l.run("diff", "prod", "staging"), 2, "beta certificate - has it", "2 certificates the same")
	l.wants(l.run("diff", "staging", "prod"), 2, "beta certificate has it -", "2 certificates the same")
}

// A file that lies where one happens to be does not pass for an environment: it would
// decide whom the token is shown to.
func TestDiffTakesNoFileForAnEnvironment(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	text := strings.NewReplacer("%ADDRESS%", "http://127.0.0.1:1", "%DOMAINS%", "example.com", "%DIR%", "/etc/x").Replace(declared)
	l.write("prod", text)
	l.wants(l.run("diff", "prod", "prod"), 0, "1 certificate the same")
	l.wants(l.run("diff", "./prod", "prod"), 1, "./prod: could not be told: certificate example: ", "127.0.0.1:1")
	l.write("test", text)
	l.wants(l.run("diff", "test", "prod"), 1, `no environment "test"`, "the file here is named ./test")
}
