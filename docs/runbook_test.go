package docs_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/acmeserver"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/parts"
	"github.com/anycert/anycert/internal/testenv/world"
)

// operator has a hub with a Vault that can be sealed and restored, and follows the
// runbook to the letter when something is wrong.
type operator struct {
	*world.World
	config string // ANYCERT_CONFIG
	tools  string // folder of anycert, vault and systemctl
	edge   string // what stands at 192.0.2.7:443 in the runbook
	env    map[string]string
	pages  map[string][]string // blocks of the runbook, by section
	done   map[string]bool     // sections whose blocks were run
	days   int                 // that certificates made by hand end earlier, each than those before
}

func newOperator(t *testing.T) *operator {
	t.Helper()
	o := &operator{World: world.New(t, world.Options{Raft: true}), pages: sections(t, "runbook.md"), done: map[string]bool{}}
	o.config = o.Config("config.yaml", `version: 1
owner: example-prod
store: {{.Store (.Token "hub" .HubPolicy)}}
issuers: [{{.Issuer "letsencrypt"}}]
certificates:
  - name: example
    domains: [example.com, "*.example.com"]
    issuer: letsencrypt
    key_type: ec256
  - name: shop
    domains: [shop.example.com]
sinks:
  - {name: nginx, type: file, certificates: ["*"], config: {dir: {{.Files}}}}
  - {name: app, type: fly, certificates: [example], config: { {{.AtFly "example-web"}}, hostnames: [example.com]}}
http: {listen: "127.0.0.1:0"}
`, o.World)
	o.equip()
	return o
}

// equip puts the commands of the runbook into a folder, as they are on a machine: the
// real ones, but that `vault operator unseal`, which asks at a terminal, is answered
// here, and that systemctl does what the units say, without systemd.
func (o *operator) equip() {
	o.T.Helper()
	o.tools = o.T.TempDir()
	vault, err := parts.Find(parts.Vault)
	o.Must(err)
	unseal := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := o.Vault.Unseal(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	}))
	o.T.Cleanup(unseal.Close)
	o.Must(os.Symlink(o.Binary, filepath.Join(o.tools, "anycert")))
	o.tool("vault", fmt.Sprintf("[ \"$1 $2\" != 'operator unseal' ] || exec curl -sf --noproxy '*' %s\nexec %s \"$@\"", unseal.URL, vault))
	o.tool("systemctl", `case "$1 $2" in
"reload vault") exec kill -HUP "$VAULT_PID" ;;
"reload anycert-hub") [ -z "${ANYCERT_PID:-}" ] || exec kill -HUP "$ANYCERT_PID" ;;
*) exit 1 ;;
esac`)
	o.env = map[string]string{
		"PATH": o.tools + ":/usr/bin:/bin", "HOME": o.Dir, "TMPDIR": o.Dir, "LC_ALL": "C", "ANYCERT_CONFIG": o.config,
		"VAULT_ADDR": o.Vault.Addr, "VAULT_TOKEN": o.Vault.RootToken, "VAULT_CACERT": o.Vault.CAFile, "VAULT_PID": fmt.Sprint(o.Vault.PID()),
		"ACME_DIRECTORY": o.ACME.URL, "ACME_CA": o.File("acme-ca.pem", string(o.ACME.CAPEM)),
	}
}

func (o *operator) tool(name, script string) {
	o.T.Helper()
	o.Must(os.WriteFile(filepath.Join(o.tools, name), []byte("#!/bin/sh\n"+script+"\n"), 0o700))
}

// follow runs blocks of a section, all of them unless some are named, and returns what
// they print. The first command that fails ends the test.
func (o *operator) follow(section string, some ...int) string {
	o.T.Helper()
	blocks := o.pages[section]
	if len(blocks) == 0 {
		o.T.Fatalf("the runbook has no commands under %q", section)
	}
	o.done[section] = true
	script := "set -euo pipefail\ntrap 'echo \"failed: $BASH_COMMAND\" >&2' ERR\n"
	for i, block := range blocks {
		if len(some) == 0 || slices.Contains(some, i) {
			script += strings.NewReplacer("/etc/ssl/anycert", o.Files, "192.0.2.7:443", o.edge).Replace(block)
		}
	}
	cmd := o.Program("/bin/bash", o.File("runbook.sh", script))
	cmd.Env = nil
	for name, value := range o.env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	got := o.Do(cmd)
	if got.Code != 0 {
		o.T.Fatalf("%s: %v", section, got)
	}
	return got.Stdout + got.Stderr
}

// trouble expects that an audit ends with a code and that it says something.
func (o *operator) trouble(code int, verdict, says string) {
	o.T.Helper()
	r := o.Report(code, o.config, "audit")
	if !slices.ContainsFunc(r.Promises, func(p world.Promise) bool { return p.Verdict == verdict && strings.Contains(p.Reason, says) }) {
		o.T.Errorf("no promise is %s with %q: %v", verdict, says, r.NotKept())
	}
}

// well expects every promise to be kept.
func (o *operator) well() {
	o.T.Helper()
	o.Kept(o.Report(0, o.config, "audit"))
}

var keyType = regexp.MustCompile(`(key_type: )(\S+)`)

// redeclare asks for the other kind of key: the certificate is due.
func (o *operator) redeclare() {
	o.T.Helper()
	text := keyType.ReplaceAllStringFunc(read(o.T, o.config), func(was string) string {
		if was == "key_type: ec256" {
			return "key_type: ec384"
		}
		return "key_type: ec256"
	})
	o.File("config.yaml", text)
}

// byHand puts a certificate into Vault that ends at another time than those before.
func (o *operator) byHand(certificate string, names ...string) certs.Pair {
	o.T.Helper()
	o.days++
	pair := testenv.IssueFrom(o.T, o.Strangers, certs.Options{Names: names, NotAfter: time.Now().AddDate(0, 0, 90-o.days)})
	o.Put(certificate, pair)
	return pair
}

// The commands of the runbook end the troubles that they are for.
func TestRunbook(t *testing.T) {
	o := newOperator(t)
	for _, step := range []struct {
		section string
		do      func(*operator)
	}{
		{"A certificate expires", (*operator).expires},
		{"Where to look first", func(o *operator) { o.follow("Where to look first") }},
		{"Vault is sealed or away", (*operator).sealed},
		{"Vault refuses", (*operator).refusedByVault},
		{"Vault came back older", (*operator).cameBackOlder},
		{"An entry is damaged", (*operator).damaged},
		{"A certificate is not obtained", (*operator).notObtained},
		{"The CA's limits are used up", (*operator).limited},
		{"The DNS token is gone", (*operator).tokenGone},
		{"A sink refuses", (*operator).sinkRefuses},
		{"A sink cannot be reached", func(o *operator) { o.follow("A sink cannot be reached") }},
		{"A promise was not verified", func(o *operator) { o.follow("A promise was not verified") }},
		{"A reload is refused", (*operator).reloadRefused},
		{"Two hubs by accident", (*operator).twoHubs},
		{"The wrong certificate is in the store", (*operator).wrongOne},
		{"The world is served something else", (*operator).servedSomethingElse},
		{"Everything must be replaced", (*operator).replaceAll},
		{"A private key was compromised", (*operator).compromised},
		{"A compromised key is replaced by hand", (*operator).compromisedByHand},
		{"The daemon does not run", func(o *operator) { o.follow("The daemon does not run") }},
		{"Vault's own certificate has expired", (*operator).circle}, // after it only the operator knows the way to Vault
	} {
		passed := t.Run(step.section, func(t *testing.T) {
			within := *o
			within.World = o.In(t)
			step.do(&within)
			o.days = within.days
		})
		if !passed {
			t.Fatal("what follows begins with a hub that is well")
		}
	}
	for section, blocks := range o.pages {
		if len(blocks) > 0 && !o.done[section] {
			t.Errorf("the commands under %q were not run", section)
		}
	}
}

func (o *operator) expires() {
	o.Report(0, o.config, "sync") // obtains example; shop waits
	pair := testenv.IssueFrom(o.T, o.Strangers, certs.Options{Names: []string{"shop.example.com"},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-time.Hour)})
	o.Put("shop", pair)
	o.Report(1, o.config, "sync")
	o.trouble(2, "broken", "it expired at")
	bought := testenv.IssueFrom(o.T, o.Strangers, certs.Options{Names: []string{"shop.example.com"}})
	o.File("fullchain.pem", string(bought.ChainPEM))
	o.File("key.pem", string(bought.KeyPEM))
	o.follow("A certificate expires")
	o.well()
}

func (o *operator) sealed() {
	o.Must(o.Vault.Seal(o.T.Context()))
	o.trouble(1, "unknown", "Vault is sealed: unseal it")
	o.follow("Vault is sealed or away")
	o.well()
}

func (o *operator) refusedByVault() {
	o.Must(o.Vault.WritePolicy(o.T.Context(), "hub", `path "secret/metadata/anycert/certs/*" { capabilities = ["list"] }`))
	o.trouble(1, "unknown", "permission denied: the token's policies lack read on secret/metadata/anycert/certs/example")
	o.Must(o.Vault.WritePolicy(o.T.Context(), "hub", o.HubPolicy()))
	o.follow("Vault refuses")
	o.well()
}

// cameBackOlder tries the two ways that have commands, and that a Vault with nothing
// in it costs an order and no more.
func (o *operator) cameBackOlder() {
	older := o.Stored("example")
	snapshot, err := o.Vault.Snapshot(o.T.Context())
	o.Must(err)
	for i, want := range []string{"newer", "older"} {
		time.Sleep(1100 * time.Millisecond) // marks know whole seconds
		newer := o.byHand("example", "example.com", "*.example.com")
		o.Kept(o.Report(0, o.config, "sync"))
		o.Must(o.Vault.Restore(o.T.Context(), snapshot))
		o.trouble(2, "held", "the store went back")
		o.follow("Vault came back older", i)
		chain := map[string]string{"newer": string(newer.ChainPEM), "older": string(older.Chain)}[want]
		if got := string(o.Stored("example").Chain); got != chain {
			o.T.Errorf("Vault does not have the %s one", want)
		}
		if got, _ := o.InFiles(o.Files, "example"); string(got) != chain {
			o.T.Errorf("the %s one is not served", want)
		}
		o.well()
	}
	orders := len(o.ACME.Orders())
	time.Sleep(1100 * time.Millisecond)
	o.Must(o.Vault.Client().KVv2("secret").DeleteMetadata(o.T.Context(), "anycert/certs/example"))
	o.trouble(2, "held", "the store has nothing")
	o.Kept(o.Report(0, o.config, "sync"))
	if n := len(o.ACME.Orders()) - orders; n != 1 {
		o.T.Errorf("a Vault that was lost cost %d orders", n)
	}
}

func (o *operator) damaged() {
	o.Must(o.Vault.Client().KVv2("secret").Delete(o.T.Context(), "anycert/certs/example"))
	o.trouble(1, "unknown", "deleted in the store: undelete that version")
	o.follow("An entry is damaged")
	o.well()
}

// notObtained: after a failure the next try is put off, unless somebody asks for it.
func (o *operator) notObtained() {
	o.redeclare()
	o.ACME.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if acmeserver.KindOf(r) != acmeserver.KindNewOrder {
			return false
		}
		acmeserver.Fail(w, http.StatusServiceUnavailable, "serverInternal", "")
		return true
	})
	o.failing("the CA answers serverInternal")
	o.ACME.Intercept(nil)
	o.failing("it is tried again")
	o.follow("A certificate is not obtained")
	o.well()
}

// limited: what the page shows asks the CA nothing.
func (o *operator) limited() {
	asked := len(o.ACME.Requests())
	if out := o.follow("The CA's limits are used up"); !strings.Contains(out, "example ") {
		o.T.Errorf("it does not say when the turn of example comes: %s", out)
	}
	for _, r := range o.ACME.Requests()[asked:] {
		o.T.Errorf("it asked the CA: %s", r.Kind)
	}
}

var tsigFile = regexp.MustCompile(`DNSUPDATE_TSIG_SECRET: \{file: ([^}]+)\}`)

func (o *operator) tokenGone() {
	o.redeclare()
	file := tsigFile.FindStringSubmatch(read(o.T, o.config))[1]
	good := read(o.T, file)
	o.Must(os.WriteFile(file, []byte("bm90IHRoZSBvbmUgdGhhdCBpdCBrbm93cyEhISEhISE="), 0o600))
	o.failing("writing the record _acme-challenge.example.com with DNS provider rfc2136")
	o.Must(os.WriteFile(file, []byte(good), 0o600))
	o.failing("it is tried again")
	o.follow("The DNS token is gone")
	o.well()
}

// failing expects a sync to fail, and to say why.
func (o *operator) failing(says string) {
	o.T.Helper()
	if got := o.Run(o.config, "sync"); got.Code != 1 || !got.Says(says) {
		o.T.Errorf("it does not say %q: %v", says, got)
	}
}

func (o *operator) sinkRefuses() {
	link := filepath.Join(o.Files, "example")
	o.Must(os.Remove(link))
	o.Must(os.Mkdir(link, 0o700))
	o.trouble(2, "refused", "that anycert did not make")
	o.Must(os.Remove(link)) // it is ours: moved away
	o.follow("A sink refuses")
	o.well()
}

func (o *operator) reloadRefused() {
	good := read(o.T, o.config)
	d := o.Daemon(o.config)
	d.AwaitReady()
	o.File("config.yaml", good+"future: 1\n")
	d.HangUp()
	d.AwaitUnready("the configuration file was not taken over")
	o.File("config.yaml", good)
	o.env["ANYCERT_PID"] = fmt.Sprint(d.PID())
	o.follow("A reload is refused")
	d.AwaitReady()
	delete(o.env, "ANYCERT_PID")
	d.End()
}

// twoHubs goes through the table of the page.
func (o *operator) twoHubs() {
	text := read(o.T, o.config)
	m := o.Now()
	o.Kept(o.Report(0, o.File("same.yaml", text), "sync"))
	o.WroteNothing("a second hub, all the same", m)

	another := o.File("another.yaml", strings.Replace(text, "owner: example-prod", "owner: example-staging", 1))
	for _, p := range o.Report(1, another, "sync", "--only", "nginx").Promises {
		if p.Verdict != "refused" || !strings.Contains(p.Reason, `the mark of the owner "example-prod"`) {
			o.T.Errorf("%v", p)
		}
	}
	o.WroteNothing("a hub with another owner", m)

	copied := world.New(o.T, world.Options{})
	elsewhere := o.File("elsewhere.yaml", regexp.MustCompile(`(?m)^store: .*$`).ReplaceAllString(text, "store: "+copied.Store(copied.Root())))
	time.Sleep(1100 * time.Millisecond)
	copied.Put("example", testenv.IssueFrom(o.T, o.Strangers, certs.Options{Names: []string{"example.com", "*.example.com"}, NotAfter: time.Now().AddDate(0, 1, 0)}))
	o.Report(1, elsewhere, "sync", "--no-issue") // shop is held there: that store has none
	o.trouble(2, "held", "the store went back")
	writes := o.Fly.Writes()
	for range 2 { // at Fly.io each believes its own store
		o.Run(o.config, "sync", "--only", "app")
		o.Run(elsewhere, "sync", "--no-issue", "--only", "app")
	}
	if n := o.Fly.Writes() - writes; n != 4 {
		o.T.Errorf("two hubs with one owner wrote %d times to Fly.io in two rounds", n)
	}
	o.follow("Two hubs by accident")
	o.well()
}

// wrongOne: what somebody wrote into Vault is served everywhere, and the one before it
// comes back.
func (o *operator) wrongOne() {
	right := o.Stored("example")
	o.byHand("example", "example.com", "*.example.com")
	o.Kept(o.Report(0, o.config, "sync"))
	orders := len(o.ACME.Orders())
	before, err := o.Vault.Client().KVv2("secret").GetVersion(o.T.Context(), "anycert/certs/example", 1)
	o.Must(err)
	o.follow("The wrong certificate is in the store")
	o.well()
	now := o.Stored("example")
	if now.Version != right.Version+2 || string(now.Chain) != before.Data["tls.crt"] {
		o.T.Errorf("version %d after %d is not what version 1 was", now.Version, right.Version)
	}
	if chain, _ := o.InFiles(o.Files, "example"); string(chain) != string(now.Chain) {
		o.T.Error("the wrong one is still served")
	}
	if n := len(o.ACME.Orders()) - orders; n != 0 {
		o.T.Errorf("it cost %d orders", n)
	}
}

// servedSomethingElse: nginx was not reloaded, and the page shows the one that it serves.
func (o *operator) servedSomethingElse() {
	text := read(o.T, o.config)
	nginx := testenv.Nginx(o.T, filepath.Join(o.Files, "shop"))
	o.edge = nginx.Addr
	o.File("config.yaml", strings.Replace(text, "domains: [shop.example.com]",
		fmt.Sprintf("domains: [shop.example.com]\n    verify: [{address: %q, server_name: shop.example.com}]", nginx.Addr), 1))
	o.well()
	old := o.Stored("shop").Leaf
	fresh := o.byHand("shop", "shop.example.com")
	o.Kept(o.Report(0, o.config, "sync"))
	out := o.follow("The world is served something else")
	for _, want := range []string{"on the wire: 1 behind", "wire: certificate shop at nginx", "have the server read it again (a reload)",
		"shop\t" + nginx.Addr + " (shop.example.com)\t127.0.0.1\tbehind\t", fmt.Sprintf("serial=%X", old.SerialNumber.Bytes())} {
		if !strings.Contains(out, want) {
			o.T.Errorf("it does not say %q: %s", want, out)
		}
	}
	o.Must(nginx.Reload())
	o.Must(nginx.WaitServing(o.T.Context(), fresh.Leaf()))
	o.well()
	o.File("config.yaml", text)
}

// replaceAll: the dry run asks the CA for nothing, the other for one order.
func (o *operator) replaceAll() {
	old, orders := o.Stored("example"), len(o.ACME.Orders())
	out := o.follow("Everything must be replaced", 0)
	if n := len(o.ACME.Orders()) - orders; n != 1 {
		o.T.Errorf("it cost %d orders: %s", n, out)
	}
	if now := o.Stored("example"); now.Version != old.Version+1 || string(now.Chain) == string(old.Chain) {
		o.T.Errorf("Vault has version %d after %d", now.Version, old.Version)
	}
	o.well()
}

func (o *operator) compromised() { o.replacesKey("A private key was compromised") }

// compromisedByHand begins with the kind of key that the page takes for granted.
func (o *operator) compromisedByHand() {
	if strings.Contains(read(o.T, o.config), "ec384") {
		o.redeclare()
		o.Kept(o.Report(0, o.config, "sync"))
	}
	o.replacesKey("A compromised key is replaced by hand")
}

// replacesKey follows a section, after which there is another key everywhere, the old
// certificate is revoked, and no version in Vault has the old key.
func (o *operator) replacesKey(section string) {
	o.T.Helper()
	bad, before := o.Stored("example"), o.revoked()
	o.follow(section)
	o.well()
	if n := o.revoked() - before; n != 1 {
		o.T.Errorf("the CA revoked %d certificates", n)
	}
	now := o.Stored("example")
	if now.Version != bad.Version+1 || string(now.Key) == string(bad.Key) {
		o.T.Errorf("Vault has version %d after %d", now.Version, bad.Version)
	}
	kv := o.Vault.Client().KVv2("secret")
	all, err := kv.GetVersionsAsList(o.T.Context(), "anycert/certs/example")
	o.Must(err)
	for _, version := range all {
		if version.Destroyed {
			continue
		}
		held, err := kv.GetVersion(o.T.Context(), "anycert/certs/example", version.Version)
		o.Must(err)
		if held.Data["tls.key"] == string(bad.Key) {
			o.T.Errorf("the old key is still in Vault, as version %d", version.Version)
		}
	}
}

// revoked is how many certificates the CA was asked to revoke, and did.
func (o *operator) revoked() (n int) {
	for _, r := range o.ACME.Requests() {
		if r.Kind == acmeserver.KindRevoke && r.Status == http.StatusOK {
			n++
		}
	}
	return n
}
