package policy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/config"
	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/parts"
	"github.com/anycert/anycert/internal/testenv/world"
)

// Each case has a prefix of its own in Vault, and so nothing of the case before it.

// session is one case: a role at work under one policy.
type session struct {
	*world.World
	prefix string
	dir    string // of the file sink
	hook   string // URL of a webhook
	config string // path
}

// step is something that a role does.
type step struct {
	name string
	do   func(s *session) world.Result
}

// verb runs anycert under the session's configuration.
func verb(args ...string) step {
	return step{"`" + strings.Join(args, " ") + "`", func(s *session) world.Result { return s.Run(s.config, args...) }}
}

// part is what is proven of a role: its configuration, what is there before, what it
// does, in this order.
type part struct {
	role   anycert.Role
	title  string
	head   string
	config string // template
	auth   func(s *session, hcl string) string
	before func(s *session)
	steps  []step
	about  func(c capability) bool // which are taken away; nil: all but those about a token's life
}

// life is what keeps a token alive, which takes one that does not live long to prove.
func life(c capability) bool {
	return c.path == "auth/token/renew-self" || c.path == "auth/token/lookup-self"
}

const follower = `version: 1
owner: hub
store: {vault: {address: "{{.Vault.Addr}}", prefix: {{.Prefix}}, auth: {{.Auth}}}}
certificates:
  - {name: example, domains: [example.com]{{.Issuer}}}
  - {name: shop, domains: [shop.example.com]}
sinks:
  - {name: nginx, type: file, certificates: ["*"], config: {dir: {{.Dir}}, keystore: {password: {vault: "secret/credentials/keystore#password"}}}}
`

const hub = follower + `issuers:
  - name: pebble
    directory: {{.ACME.URL}}
    profile: default
    limits: letsencrypt
    ca_bundle: {{.Path "acme-ca.pem"}}
    dns:
      provider: rfc2136
      settings: {DNSUPDATE_NAMESERVER: "{{.DNS.Addr}}", DNSUPDATE_TSIG_KEY: acme., DNSUPDATE_TSIG_ALGORITHM: hmac-sha256., DNSUPDATE_TSIG_SECRET: {vault: "secret/credentials/dns#tsig"}}
      resolvers: ["{{.DNS.Addr}}"]
      propagation: none
`

const telling = follower + `notify: [{name: team, webhook: {url: "{{.Hook}}"}}]
reconcile: {schedule: "@every 5s"}
http: {listen: "127.0.0.1:0"}
`

// write fills a template for the session.
func (s *session) write(name, text, auth string) (path string) {
	s.T.Helper()
	issuer := ""
	if strings.Contains(text, "issuers:") {
		issuer = ", issuer: pebble"
	}
	return s.Config(s.prefix+"-"+name+".yaml", text, struct {
		*world.World
		Prefix, Dir, Hook, Auth, Issuer string
	}{s.World, s.prefix, s.dir, s.hook, auth, issuer})
}

// put writes an entry of the session's store as `vault kv put` does.
func (s *session) put(name string, o certs.Options) {
	s.T.Helper()
	pair := testenv.IssueFrom(s.T, s.Strangers, o)
	_, err := s.Vault.Client().KVv2("secret").Put(s.T.Context(), s.prefix+"/certs/"+name,
		map[string]any{"tls.crt": string(pair.ChainPEM), "tls.key": string(pair.KeyPEM)})
	s.Must(err)
}

// ask leaves a request as `anycert renew` does that was ended at once.
func (s *session) ask(name string) {
	s.T.Helper()
	_, err := s.Vault.Client().KVv2("secret").Put(s.T.Context(), s.prefix+"/requests/"+name,
		map[string]any{"value": `{"schema": 1, "time": "2026-01-02T03:04:05Z", "by": "ops@laptop", "version": 1}`})
	s.Must(err)
}

// asRoot runs verbs with every right, to make what a role meets.
func (s *session) asRoot(text string, args ...string) {
	s.T.Helper()
	if got := s.Run(s.write("root", text, s.Root()), args...); got.Code != 0 {
		s.T.Fatal(got)
	}
}

// appRole logs in with tokens that live for ttl and have one policy, default not
// included. The secret id is good for some logins; 0: any number.
func (s *session) appRole(hcl, ttl string, logins int) string {
	s.T.Helper()
	ctx, name := s.T.Context(), s.prefix
	s.Must(s.Vault.WritePolicy(ctx, name, hcl))
	role, err := s.Vault.EnableAppRole(ctx, name, ttl, name)
	s.Must(err)
	path := "auth/approle/role/" + name
	_, err = s.Vault.Client().Logical().WriteWithContext(ctx, path, map[string]any{"token_no_default_policy": true, "secret_id_num_uses": logins})
	s.Must(err)
	secret, err := s.Vault.Client().Logical().WriteWithContext(ctx, path+"/secret-id", nil)
	s.Must(err)
	return fmt.Sprintf("{method: approle, role_id: %s, secret_id: %s}", role.RoleID, s.Reference(secret.Data["secret_id"].(string)))
}

// token logs in with a token that was given, lives for ttl and has one policy.
func (s *session) token(hcl, ttl string) string {
	s.T.Helper()
	s.Must(s.Vault.WritePolicy(s.T.Context(), s.prefix, hcl))
	made, err := s.Vault.Client().Logical().WriteWithContext(s.T.Context(), "auth/token/create",
		map[string]any{"policies": []string{s.prefix}, "no_default_policy": true, "ttl": ttl})
	s.Must(err)
	return "{method: token, token: " + s.Reference(made.Auth.ClientToken) + "}"
}

func anHour(s *session, hcl string) string { return s.appRole(hcl, "1h", 0) }

// outlive uses the store for longer than a token lives that was given for 3 seconds,
// as the daemon does.
func outlive(s *session) world.Result {
	s.T.Helper()
	result := world.Result{Command: "run"}
	loaded, err := config.Load(s.config)
	s.Must(err)
	store, err := config.OpenStore(loaded, config.Options{})
	s.Must(err)
	for end := time.Now().Add(4 * time.Second); time.Now().Before(end); {
		if _, err := store.Stat(s.T.Context(), "shop"); err != nil {
			result.Code, result.Stderr = 1, err.Error()
			return result
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-s.T.Context().Done():
			s.T.Fatal(context.Cause(s.T.Context()))
		}
	}
	return result
}

// listen makes a webhook that takes everything.
func (s *session) listen() {
	s.T.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.T.Cleanup(server.Close)
	s.hook = server.URL
}

// tell runs the daemon until the store knows that an alarm was told, or the daemon says
// that the store does not.
func tell(s *session) world.Result {
	s.T.Helper()
	daemon := s.Daemon(s.config)
	daemon.Await("keeps what it told", func() error {
		if strings.Contains(string(daemon.Logged()), "what is told of alarms cannot be kept in the store") {
			return nil
		}
		kept, err := s.Vault.Client().KVv2("secret").GetMetadata(s.T.Context(), s.prefix+"/alarms/hub")
		if err == nil && kept.CurrentVersion < 2 {
			err = errors.New("it was written once: before it was told")
		}
		return err
	})
	daemon.End()
	return world.Result{Command: "run", Stderr: string(daemon.Logged())}
}

func (s *session) read(path string) string {
	s.T.Helper()
	text, err := os.ReadFile(path)
	s.Must(err)
	return string(text)
}

func TestVault(t *testing.T) {
	t.Parallel()
	w := world.New(t, world.Options{})
	w.File("acme-ca.pem", string(w.ACME.CAPEM))
	for name, secret := range map[string]map[string]any{"dns": {"tsig": w.DNS.Secret}, "keystore": {"password": "changeit"}} {
		_, err := w.Vault.Client().KVv2("secret").Put(t.Context(), "credentials/"+name, secret)
		w.Must(err)
	}
	for i, p := range vaultParts {
		t.Run(strings.TrimPrefix(p.title, "Vault: "), func(t *testing.T) {
			w := w.In(t)
			printed := p.exactly(w, fmt.Sprintf("p%d", i))
			var rows []row
			for n, taken := range capabilities(printed) {
				if p.about == nil && !life(taken) || p.about != nil && p.about(taken) {
					rows = append(rows, p.without(w, fmt.Sprintf("p%d-%d", i, n), taken))
				}
			}
			proof(w, p.title, p.head, rows)
		})
	}
}

// begin makes a session with what is there before. policy changes what is printed.
func (p part) begin(w *world.World, prefix string, policy func(printed string) string) *session {
	w.T.Helper()
	s := &session{World: w, prefix: prefix, dir: w.Path(prefix + "-files")}
	p.before(s)
	// What is printed depends on the way to log in, not on the role to log in as.
	auth := map[bool]string{true: "{method: approle, role_id: x, secret_id: {env: X}}", false: "{method: token}"}[p.logsIn()]
	printed := s.Run(s.write("print", p.config, auth), "policy", string(p.role), "--only", "vault")
	if printed.Code != 0 {
		w.T.Fatal(printed)
	}
	s.config = s.write("", p.config, p.auth(s, policy(printed.Stdout)))
	return s
}

func (p part) logsIn() bool {
	return p.role != anycert.Laptop && !strings.Contains(p.title, "given a token")
}

// exactly runs everything with the policy as it is printed, written by the vault
// command, and expects that Vault refuses nothing.
func (p part) exactly(w *world.World, prefix string) (printed string) {
	w.T.Helper()
	s := p.begin(w, prefix, func(text string) string { printed = text; return text })
	vault, err := parts.Find(parts.Vault)
	w.Must(err)
	cmd := w.Program(vault, "policy", "write", prefix, "-")
	cmd.Stdin, cmd.Env = strings.NewReader(printed), append(cmd.Env, "VAULT_ADDR="+w.Vault.Addr, "VAULT_TOKEN="+w.Vault.RootToken)
	if got := w.Do(cmd); got.Code != 0 {
		w.T.Fatal(got)
	}
	mark, err := w.Vault.Mark()
	w.Must(err)
	for _, step := range p.steps {
		if got := step.do(s); fails(got) {
			w.T.Errorf("%s, with exactly what is printed: %v", step.name, got)
		}
	}
	requests, err := w.Vault.Requests(mark)
	w.Must(err)
	for _, r := range requests {
		if strings.Contains(r.Error, "permission denied") && r.Path != "auth/token/lookup-self" { // taken for a no: see store
			w.T.Errorf("with exactly what is printed, Vault refuses to %s %s", r.Operation, r.Path)
		}
	}
	return strings.ReplaceAll(printed, prefix+"/", "anycert/")
}

// fails reports whether a verb did not do all that it is for.
func fails(r world.Result) bool {
	return r.Code != 0 || strings.Contains(r.Stdout+r.Stderr, anycert.ErrForbidden.Error())
}

// how tells a verb that went on without from one that failed.
func how(r world.Result) string {
	if r.Code <= 0 {
		return " warns"
	}
	return ""
}

// capability is one of a path.
type capability struct{ path, name string }

var pathOfPolicy = regexp.MustCompile(`path "([^"]+)" \{\n  capabilities = \[([^\]]*)\]`)

// capabilities are those of a policy as it is printed.
func capabilities(hcl string) (all []capability) {
	for _, match := range pathOfPolicy.FindAllStringSubmatch(hcl, -1) {
		for name := range strings.SplitSeq(match[2], ", ") {
			all = append(all, capability{match[1], strings.Trim(name, `"`)})
		}
	}
	return all
}

// without takes a capability out of a policy as it is printed.
func (c capability) without(hcl string) string {
	return pathOfPolicy.ReplaceAllStringFunc(hcl, func(found string) string {
		match := pathOfPolicy.FindStringSubmatch(found)
		if match[1] != c.path {
			return found
		}
		names := slices.DeleteFunc(strings.Split(match[2], ", "), func(name string) bool { return name == `"`+c.name+`"` })
		return strings.Replace(found, "["+match[2]+"]", "["+strings.Join(names, ", ")+"]", 1)
	})
}

// without runs the steps without one capability until one fails and names it.
func (p part) without(w *world.World, prefix string, taken capability) row {
	w.T.Helper()
	here := capability{strings.Replace(taken.path, "/anycert/", "/"+prefix+"/", 1), taken.name}
	changed := false
	s := p.begin(w, prefix, func(text string) string {
		less := here.without(text)
		changed = less != text
		return less
	})
	if !changed {
		w.T.Fatalf("there is no %v to take away", here)
	}
	name := fmt.Sprintf("`%s` on `%s`", taken.name, taken.path)
	var failed []string
	for _, step := range p.steps {
		got := step.do(s)
		if !fails(got) {
			continue
		}
		failed = append(failed, step.name+how(got))
		if said, ok := sentence(got.Stdout+got.Stderr, here.name+" on "+here.path, "certificate ", "orders/", "accounts/", "budgets/", "renewals/", "requests/", "alarms/", "listing ", "reading ", "permission denied"); ok {
			return row{name, strings.Join(failed, ", then "), normal(w, strings.ReplaceAll(said, prefix+"/", "anycert/"))}
		}
		w.T.Logf("without %s: %v", name, got)
	}
	w.T.Errorf("without %s nothing says so; what failed: %q", name, failed)
	return row{}
}
