// Package renewing runs `anycert renew` against a real Vault and Pebble: all that there
// is at once, interrupted and gone on with, alone and beside a daemon; and after a key
// became known to others.
package renewing

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path"
	"strings"
	"sync"
	"testing"

	"github.com/anycert/anycert/internal/testenv/acmeserver"
	"github.com/anycert/anycert/internal/testenv/world"
)

func TestMain(m *testing.M) { world.Main(m) }

// estate is a hub with some certificates, each obtained once and served by two
// directories. The reload of the second fails while a file is there.
type estate struct {
	*world.World
	names  []string
	config string
}

// more is what a hub may do beside HubPolicy: to destroy versions.
const more = `path "secret/destroy/anycert/certs/*" { capabilities = ["create", "update"] }`

// newEstate obtains n certificates and pushes them. issuer is more of its configuration,
// certificates more of theirs.
func newEstate(t *testing.T, n int, issuer, certificates string) *estate {
	t.Helper()
	e := &estate{World: world.New(t, world.Options{})}
	var list strings.Builder
	for i := range n {
		name := fmt.Sprintf("c%02d", i)
		e.names = append(e.names, name)
		fmt.Fprintf(&list, "\n  - {name: %s, domains: [%s.example.com], issuer: pebble%s}", name, name, certificates)
	}
	declared := strings.TrimSuffix(e.Issuer("pebble"), "}") + issuer + "}"
	e.config = e.Config("hub.yaml", `version: 1
owner: hub
store: {{.World.Store (.World.Token "hub" .Policy)}}
issuers: [{{.Issuer}}]
certificates:{{.Certificates}}
sinks:
  - {name: nginx, type: file, certificates: ["*"], config: {dir: {{.World.Files}}}}
  - {name: stubborn, type: file, certificates: [c00], config: {dir: {{.World.Path "stubborn"}}, reload: [sh, -c, "test ! -e {{.World.Path "blocked"}}"]}}
reconcile: {schedule: "@every 5s"}
http: {listen: "127.0.0.1:0"}
`, map[string]any{"World": e.World, "Policy": e.HubPolicy() + more, "Issuer": declared, "Certificates": list.String()})
	e.Kept(e.Report(0, e.config, "sync"))
	return e
}

// everyVersion expects that each certificate is at one version in Vault, was issued as
// often by the CA, and is served.
func (e *estate) everyVersion(version int) {
	e.T.Helper()
	for _, name := range e.names {
		stored := e.Stored(name)
		if issued := len(e.ACME.CertificatesFor(name + ".example.com")); stored.Version != version || issued != version {
			e.T.Errorf("%s is at version %d, and the CA issued %d: want %d", name, stored.Version, issued, version)
		}
		if err := stored.Same(e.InFiles(e.Files, name)); err != nil {
			e.T.Errorf("%s is not served: %v", name, err)
		}
	}
}

// paths lists every path below Vault's prefix.
func (e *estate) paths(below string) (paths []string) {
	e.T.Helper()
	list, err := e.Vault.Client().Logical().ListWithContext(e.T.Context(), "secret/metadata/"+below)
	e.Must(err)
	if list == nil {
		return nil
	}
	keys, _ := list.Data["keys"].([]any)
	for _, key := range keys {
		if name := fmt.Sprint(key); strings.HasSuffix(name, "/") {
			paths = append(paths, e.paths(path.Join(below, name))...)
		} else {
			paths = append(paths, path.Join(below, name))
		}
	}
	return paths
}

// holding lists the versions of paths below the prefix that hold a text, read as the
// administrator of Vault.
func (e *estate) holding(text string) (found []string) {
	e.T.Helper()
	kv := e.Vault.Client().KVv2("secret")
	for _, path := range e.paths("anycert") {
		metadata, err := kv.GetMetadata(e.T.Context(), path)
		e.Must(err)
		for version, about := range metadata.Versions {
			if about.Destroyed {
				continue
			}
			read, err := e.Vault.Client().Logical().ReadWithDataWithContext(e.T.Context(), "secret/data/"+path, map[string][]string{"version": {version}})
			e.Must(err)
			var held bytes.Buffer
			encoder := json.NewEncoder(&held)
			encoder.SetEscapeHTML(false)
			if read != nil {
				e.Must(encoder.Encode(read.Data))
			}
			quoted, err := json.Marshal(text)
			e.Must(err)
			twice, err := json.Marshal(string(quoted[1 : len(quoted)-1])) // a record is JSON in JSON
			e.Must(err)
			if strings.Contains(held.String(), strings.Trim(string(quoted), `"`)) || strings.Contains(held.String(), strings.Trim(string(twice), `"`)) {
				found = append(found, path+" version "+version)
			}
		}
	}
	return found
}

// kept lists records of a kind.
func (e *estate) kept(kind string) []string {
	e.T.Helper()
	return e.paths("anycert/" + kind)
}

// during starts a verb and sends a signal to it when the CA is handed the CSR of the nth
// order, or sees that it has ended before.
func (e *estate) during(nth int, signal os.Signal, args ...string) world.Result {
	e.T.Helper()
	cmd := e.Command(e.config, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	var mu sync.Mutex
	seen := 0
	started := make(chan struct{})
	e.ACME.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if acmeserver.KindOf(r) != acmeserver.KindFinalize {
			return false
		}
		<-started
		mu.Lock()
		defer mu.Unlock()
		if seen++; seen == nth {
			if err := cmd.Process.Signal(signal); err != nil {
				e.T.Error(err)
			}
		}
		return false
	})
	defer e.ACME.Intercept(nil)
	e.Must(cmd.Start())
	close(started)
	err := cmd.Wait()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		e.T.Fatal(err)
	}
	return world.Result{Command: strings.Join(args, " "), Code: cmd.ProcessState.ExitCode(), Stdout: stdout.String(), Stderr: stderr.String()}
}

// plan is what --dry-run tells.
func (e *estate) plan(args ...string) (turns []turn) {
	e.T.Helper()
	got := e.Run(e.config, append([]string{"renew", "--dry-run", "-o", "json"}, args...)...)
	var told struct {
		Schema int    `json:"schema"`
		Plan   []turn `json:"plan"`
	}
	if err := json.Unmarshal([]byte(got.Stdout), &told); err != nil || got.Code != 0 || told.Schema != 1 {
		e.T.Fatalf("%v (%v)", got, err)
	}
	return told.Plan
}

type turn struct {
	Certificate string `json:"certificate"`
	Urgency     string `json:"urgency"`
	Limit       string `json:"limit"`
}
