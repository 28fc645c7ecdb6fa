// Package replacing has a CA ask for all of its certificates to be replaced at once, as
// after a mistake of its own, and watches that they are: everywhere, and within its
// limits.
package replacing

import (
	"context"
	"encoding/asn1"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anycert/anycert/internal/testenv/acmeserver"
	"github.com/anycert/anycert/internal/testenv/calimits"
	"github.com/anycert/anycert/internal/testenv/world"
)

func TestMain(m *testing.M) { world.Main(m) }

const (
	many    = 100
	cluster = "prod"
	// window is in which the CA asks for the certificates to be replaced. It is asked for
	// advice once a minute: no client of ours asks more often.
	window = 2 * time.Minute
)

// estate is a hub with a hundred certificates at a CA that holds it to the limits of
// Let's Encrypt, each served by a Secret and a directory.
type estate struct {
	*world.World
	limits *calimits.Server
	names  []string
	config string
}

func newEstate(t *testing.T) *estate {
	t.Helper()
	zones := []string{"example.com", "example.org", "example.net"} // one alone may have 50 certificates a week
	e := &estate{World: world.New(t, world.Options{Clusters: []string{cluster}, Zones: zones, ACME: acmeserver.Options{RetryAfterAdvice: 60}})}
	e.Must(e.Clusters[cluster].CreateNamespaces(t.Context(), "web"))
	var err error
	e.limits, err = calimits.Start(e.ACME.URL, e.ACME.CAPEM, calimits.New(calimits.Published(), nil))
	e.Must(err)
	t.Cleanup(e.limits.Close)
	e.ACME.URL, e.ACME.CAPEM = e.limits.URL, e.limits.CAPEM
	var list strings.Builder
	for i := range many {
		name := fmt.Sprintf("host%02d", i)
		e.names = append(e.names, name)
		fmt.Fprintf(&list, "\n  - {name: %s, domains: [%s.%s], issuer: pebble}", name, name, zones[i%len(zones)])
	}
	e.config = e.Config("hub.yaml", `version: 1
owner: hub
store: {{.World.Store (.World.Token "hub" .World.HubPolicy)}}
issuers: [{{.Issuer}}]
certificates:{{.Certificates}}
sinks:
  - {name: prod, type: kubernetes, certificates: ["*"], config: { {{.World.Admin "prod"}}, namespaces: [web]}}
  - {name: nginx, type: file, certificates: ["*"], config: {dir: {{.World.Files}}}}
reconcile: {schedule: "@every 5s"}
http: {listen: "127.0.0.1:0"}
`, map[string]any{"World": e.World, "Issuer": strings.TrimSuffix(e.Issuer("pebble"), "}") + ", limits: letsencrypt}", "Certificates": list.String()})
	return e
}

// A hundred certificates are to be replaced at once. The daemon hears of it, replaces
// each in the window and pushes it to every place. The CA refuses nothing, since each
// order says what it replaces.
func TestAHundredAreReplacedOnAdvice(t *testing.T) {
	e := newEstate(t)
	d := e.Daemon(e.config)
	begun := time.Now()
	e.served(d, 1)
	t.Logf("%d certificates were obtained and pushed in %s", many, time.Since(begun).Round(time.Second))

	old := e.ACME.Certificates()
	asked := time.Now()
	for _, leaf := range old {
		e.Must(e.ACME.SetRenewalInfo(leaf, asked, asked.Add(window), "https://example.com/incident"))
	}
	e.served(d, 2)
	t.Logf("all were replaced, at all targets, %s after the CA had asked for it (within %s)", time.Since(asked).Round(time.Second), window)

	orders := e.ACME.Orders()
	if len(orders) != 2*many {
		t.Errorf("%d orders were made, want two for each of %d certificates", len(orders), many)
	}
	var replaced []string
	for _, o := range orders[many:] {
		replaced = append(replaced, o.Replaces)
	}
	for _, leaf := range old {
		serial, err := asn1.Marshal(leaf.SerialNumber)
		e.Must(err)
		const header = 2
		id := base64.RawURLEncoding.EncodeToString(leaf.AuthorityKeyId) + "." + base64.RawURLEncoding.EncodeToString(serial[header:])
		if !slices.Contains(replaced, id) {
			t.Errorf("no order says that it replaces %v", leaf.DNSNames)
		}
	}
	for _, refusal := range e.limits.Refusals() {
		t.Errorf("the CA refused %v: %s", refusal.Names, refusal.Detail)
	}
}

// served waits until each certificate is at a version in Vault and served everywhere.
func (e *estate) served(d *world.Daemon, version int) {
	e.T.Helper()
	ctx, cancel := context.WithTimeout(e.T.Context(), 10*time.Minute)
	defer cancel()
	behind := e.names
	err := d.WaitUntil(ctx, fmt.Sprintf("serves version %d of everything", version), func(ctx context.Context) error {
		// Most are behind for most of the time: it is asked about the first alone.
		for len(behind) > 0 {
			if err := e.serves(ctx, behind[0], version); err != nil {
				time.Sleep(200 * time.Millisecond)
				return err
			}
			behind = behind[1:]
		}
		return nil
	})
	e.Must(err)
}

func (e *estate) serves(ctx context.Context, name string, version int) error {
	entry, err := e.Vault.Client().KVv2("secret").GetMetadata(ctx, "anycert/certs/"+name)
	if err != nil {
		return err
	}
	if entry.CurrentVersion != version {
		return fmt.Errorf("%s is at version %d", name, entry.CurrentVersion)
	}
	stored := e.Stored(name)
	if err := stored.Same(e.InFiles(e.Files, name)); err != nil {
		return fmt.Errorf("%s in its directory: %w", name, err)
	}
	if err := stored.Same(e.InCluster(cluster, "web", name+"-tls")); err != nil {
		return fmt.Errorf("%s in its Secret: %w", name, err)
	}
	return nil
}
