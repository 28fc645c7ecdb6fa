// Package docs_test holds pages against what they speak of.
package docs_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/acmeserver"
	"github.com/anycert/anycert/internal/testenv/certs"
)

const (
	fastlyToken   = "fastly-token-of-the-hard-way"
	flyToken      = "fm2_token-of-the-hard-way"
	flyApp        = "example-web"
	configuration = "the-tls-configuration"
)

// The commands of the page do the whole job, in their order; and again, as they
// would have to at the renewal, which is one for a key that is known to others.
func TestTheHardWay(t *testing.T) {
	p := newPlaces(t)
	script := p.script(t, "the-hard-way.md")
	var serials []string
	for round := 1; round <= 2; round++ {
		printed := p.run(t, script)
		bundle := p.stored(t, round)
		serials = append(serials, bundle.Leaf().SerialNumber.String())
		if !strings.Contains(printed, `{"start":"`) || !strings.Contains(printed, "ask again in seconds: ") {
			t.Errorf("the CA did not say when to come back:\n%s", printed)
		}
		p.checkAll(t, bundle)
		p.checkTraces(t, printed, bundle)
		p.env["COMPROMISED"] = "1"
	}
	p.checkCompromised(t)
	if serials[0] == serials[1] {
		t.Error("the second round brought no new certificate")
	}
	if issued := p.acme.Orders(); len(issued) != 2 || issued[0].Account != issued[1].Account || issued[1].Profile != "tlsserver" {
		t.Errorf("the CA knows these orders, want two of one account, by profile tlsserver: %+v", issued)
	}
	if certificates, keys := p.fastly.Certificates(), p.fastly.Keys(); len(certificates) != 1 || len(keys) != 1 {
		t.Errorf("Fastly has %d certificates and %d keys, want one of each: the second round replaces, and takes away the old key", len(certificates), len(keys))
	}
}

// checkCompromised expects that one certificate is revoked, and the first key destroyed.
func (p *places) checkCompromised(t *testing.T) {
	t.Helper()
	revoked := 0
	for _, r := range p.acme.Requests() {
		if r.Kind == acmeserver.KindRevoke && r.Status == http.StatusOK {
			revoked++
		}
	}
	if revoked != 1 {
		t.Errorf("the CA revoked %d certificates", revoked)
	}
	all, err := p.vault.Client().KVv2("secret").GetVersionsAsList(t.Context(), "anycert/certs/example")
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 2 || !all[0].Destroyed || all[1].Destroyed {
		t.Errorf("Vault has %+v", all)
	}
}

// What an audit by hand calls broken is broken.
func TestTheHardWaySeesWhatDiffers(t *testing.T) {
	p := newPlaces(t)
	script := p.script(t, "the-hard-way.md")
	before, audit, found := strings.Cut(script, "differ=0\n")
	if !found {
		t.Fatal("the page has no audit")
	}
	other := testenv.Issue(t, certs.Options{Names: []string{"example.com", "*.example.com"}})
	stranger := filepath.Join(p.home, "stranger")
	writePair(t, stranger, other)
	tampering := strings.NewReplacer("STRANGER", stranger).Replace(`
kubectl patch secret example-tls -n api -p "{\"data\":{\"tls.crt\":\"$(base64 -w0 STRANGER/fullchain.pem)\"}}" >/dev/null
ln -sfn STRANGER "$CERT_DIR/example"
$NGINX_RELOAD
sleep 1
jq -n --rawfile fullchain STRANGER/fullchain.pem --rawfile private_key STRANGER/privkey.pem --arg hostname example.com '$ARGS.named' |
  fly -o /dev/null --data-binary @- "$certificates/custom"
`)
	printed, err := p.try(t, before+tampering+"differ=0\n"+audit)
	if err == nil {
		t.Error("the audit ends well, though three places differ")
	}
	var broken []string
	for _, line := range strings.Split(printed, "\n") {
		if rest, ok := strings.CutPrefix(line, "broken  "); ok {
			place, _, _ := strings.Cut(rest, ":")
			broken = append(broken, place)
		}
	}
	want := []string{"Kubernetes api/example-tls", "Fly.io example.com, by its word", "Fly.io example.com, by handshake", "nginx"}
	if !slices.Equal(broken, want) {
		t.Errorf("broken are %q, want %q; printed:\n%s", broken, want, printed)
	}
}

// What came back from the CA is looked at before it goes anywhere (step 4).
func TestTheHardWayLooksAtTheCertificate(t *testing.T) {
	text, err := os.ReadFile("the-hard-way.md")
	if err != nil {
		t.Fatal(err)
	}
	_, step, _ := strings.Cut(string(text), "\n## 4. ")
	look := block.FindStringSubmatch(step)[1]
	names := []string{"example.com", "*.example.com"}
	good := certs.Options{Names: names, Intermediate: true}
	ca := testenv.CA(t)
	pair := testenv.IssueFrom(t, ca, good)
	for name, test := range map[string]struct {
		pair certs.Pair
		good bool
	}{
		"good":             {pair, true},
		"another key":      {certs.Pair{ChainPEM: pair.ChainPEM, KeyPEM: testenv.Issue(t, good).KeyPEM}, false},
		"another's issuer": {certs.Pair{ChainPEM: certs.ChainPEM(pair.Leaf(), testenv.Issue(t, good).Chain[1]), KeyPEM: pair.KeyPEM}, false},
		"no issuer":        {certs.Pair{ChainPEM: certs.ChainPEM(pair.Leaf()), KeyPEM: pair.KeyPEM}, false},
		"no wildcard":      {testenv.IssueFrom(t, ca, certs.Options{Names: names[:1], Intermediate: true}), false},
		"no apex":          {testenv.IssueFrom(t, ca, certs.Options{Names: names[1:], Intermediate: true}), false},
		"ends today":       {testenv.IssueFrom(t, ca, certs.Options{Names: names, Intermediate: true, NotAfter: time.Now().Add(time.Hour)}), false},
		"a CA":             {testenv.IssueFrom(t, ca, certs.Options{Names: names, Intermediate: true, IsCA: true}), false},
	} {
		t.Run(name, func(t *testing.T) {
			work := t.TempDir()
			writePair(t, work, test.pair)
			p := &places{home: work, env: map[string]string{"PATH": "/usr/bin:/bin", "work": work}}
			printed, err := p.try(t, "set -euo pipefail\nnames=(example.com '*.example.com')\n"+look)
			if (err == nil) != test.good {
				t.Errorf("it ends with %v; printed:\n%s", err, printed)
			}
		})
	}
}

var (
	block    = regexp.MustCompile("(?ms)^```sh\n(.*?)^```$")
	variable = regexp.MustCompile("`([A-Z][A-Z_]+)`")
)

// script joins a page's blocks. It fails unless the page's table names exactly the
// variables that are set here.
func (p *places) script(t *testing.T, page string) string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	intro, _, _ := strings.Cut(string(text), "\n## ")
	var named []string
	for _, match := range variable.FindAllStringSubmatch(intro, -1) {
		named = append(named, match[1])
	}
	for name := range p.env {
		if ours := slices.Contains([]string{"HOME", "TMPDIR", "LC_ALL", "PATH"}, name); !ours && !slices.Contains(named, name) {
			t.Errorf("%s does not name %s", page, name)
		}
	}
	for _, name := range named {
		if _, set := p.env[name]; !set {
			t.Errorf("%s names %s, which the test does not set", page, name)
		}
	}
	var script strings.Builder
	for _, at := range block.FindAllSubmatchIndex(text, -1) {
		line := 1 + bytes.Count(text[:at[0]], []byte("\n"))
		fmt.Fprintf(&script, ": the block at line %d\n%s", line, text[at[2]:at[3]])
	}
	if fences := bytes.Count(text, []byte("\n```")); fences != 2*len(block.FindAll(text, -1)) {
		t.Errorf("%s has fenced blocks that are not sh: they would not be run", page)
	}
	return script.String()
}

func (p *places) run(t *testing.T, script string) string {
	t.Helper()
	printed, err := p.try(t, script)
	if err != nil {
		t.Fatalf("%v: it printed:\n%s", err, printed)
	}
	return printed
}

func (p *places) try(t *testing.T, script string) (printed string, err error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "the-hard-way.sh")
	trap := "trap 'echo \"failed at line $LINENO: $BASH_COMMAND\" >&2' ERR\n"
	if err := os.WriteFile(file, []byte(trap+script), 0o600); err != nil {
		t.Fatal(err)
	}
	shell := exec.CommandContext(t.Context(), "bash", file)
	shell.Dir = p.home
	for name, value := range p.env {
		shell.Env = append(shell.Env, name+"="+value)
	}
	output, err := shell.CombinedOutput()
	return string(output), err
}
