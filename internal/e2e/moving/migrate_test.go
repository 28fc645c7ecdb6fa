package moving

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/anycert/anycert/internal/testenv/kubeserver"
	"github.com/anycert/anycert/internal/testenv/world"
)

// The guide's issuer, and what stands in for it here.
const issuerOfThePage = `    directory: letsencrypt
    email: ops@example.com
    dns:
      provider: cloudflare
      settings: {CF_DNS_API_TOKEN: {vault: secret/credentials/cloudflare#token}}
`

func pebble(w *world.World) string {
	return "    directory: " + w.ACME.URL + "\n    email: ops@example.com\n    profile: default\n    ca_bundle: " +
		w.File("acme-ca.pem", string(w.ACME.CAPEM)) + "\n    dns: " + w.Challenges() + "\n"
}

// The steps of the guide from cert-manager and External Secrets, each with its way back.
func TestFromCertManager(t *testing.T) {
	w := world.New(t, world.Options{Clusters: []string{"old", "new"}})
	m := newMove(w)
	const (
		step1 = "1. Look, and write nothing but Vault"
		step2 = "2. One namespace from External Secrets to anycert"
		step3 = "3. The other namespaces"
		step4 = "4. anycert issues"
		step5 = "5. cert-manager lets go"
		step6 = "6. Tidy up"
	)
	begin := keepers{"cert-manager", "External Secrets", "External Secrets"}
	m.are(begin, 0)
	start := w.Now()
	m.thereAndBack(step1, begin, 0, begin, 0)
	m.untouched(start, "old", "new")
	m.thereAndBack(step2, keepers{"cert-manager", "anycert", "External Secrets"}, 0, begin, 0)
	m.thereAndBack(step3, keepers{"cert-manager", "anycert", "anycert"}, 0, keepers{"cert-manager", "anycert", "External Secrets"}, 0)

	m.others.renew(time.Hour) // during the move
	m.sync()
	m.are(keepers{"cert-manager", "anycert", "anycert"}, 0)
	renewed, ordered := m.others.state()
	if err := w.Stored("example").Same(renewed.ChainPEM, renewed.KeyPEM); err != nil {
		t.Errorf("what cert-manager renewed is not in Vault: %v", err)
	}

	m.thereAndBack(step4, keepers{"cert-manager", "anycert", "anycert"}, 1, keepers{"cert-manager", "anycert", "anycert"}, 1)
	m.untouched(start, "old")
	if now, again := m.others.state(); again != ordered || string(now.ChainPEM) != string(renewed.ChainPEM) {
		t.Errorf("cert-manager ordered %d times, want %d: a step before made it", again, ordered)
	}
	if stored := w.Stored("example").Leaf; stored.Issuer.CommonName == w.Parse(renewed.ChainPEM)[0].Issuer.CommonName {
		t.Error("what is in Vault is not of our own issuer")
	}
	m.thereAndBack(step5, keepers{"anycert", "anycert", "anycert"}, 1, keepers{"cert-manager", "anycert", "anycert"}, 1)
	m.there(step6, keepers{"anycert", "anycert", "anycert"}, 1)
	m.everyBlockRan("From cert-manager and External Secrets", step1, step2, step3, step4, step5, step6)
}

// move is the guide under way.
type move struct {
	*world.World
	page   page
	shell  *shell
	others *others
}

// newMove is the world before the guide.
func newMove(w *world.World) *move {
	w.T.Helper()
	for _, cluster := range w.Clusters {
		w.Must(cluster.CreateNamespaces(w.T.Context(), "web", "api"))
	}
	contexts(w, "old", "new")
	m := &move{w, readPage(w), newShell(w, issuerOfThePage, pebble(w)), startOthers(w)}
	for cluster, text := range map[string]string{
		"old": certificate,
		"new": strings.ReplaceAll(externalSecret, "NAMESPACE", "web") + "---" + strings.ReplaceAll(externalSecret, "NAMESPACE", "api"),
	} {
		m.kubectl(cluster, definitions, "apply", "-f", "-")
		m.kubectl(cluster, "", "wait", "--for=condition=Established", "crd", "--all")
		if cluster == "old" {
			m.others.renew(50 * day)
		}
		m.kubectl(cluster, text, "apply", "-f", "-")
	}
	return m
}

func (m *move) kubectl(cluster, stdin string, args ...string) {
	m.T.Helper()
	if got := m.Kubectl(cluster, stdin, args...); got.Code != 0 {
		m.T.Fatal(got)
	}
}

func (m *move) sync() {
	m.T.Helper()
	m.shell.run("anycert sync\n")
}

// keepers are who keeps the Secrets old web, new web and new api.
type keepers [3]string

// there takes a step, and expects what the page shows and what comes of it.
func (m *move) there(step string, want keepers, orders int) {
	m.T.Helper()
	printed := m.shell.run(m.page.blocks(m.T, step, "sh")...)
	if strings.Contains(m.page[step], "```text") {
		shows(m.T, printed, m.page.blocks(m.T, step, "text")...)
	}
	m.are(want, orders)
}

// again takes a step another time.
func (m *move) again(step string, want keepers, orders int) {
	m.T.Helper()
	m.shell.run(m.page.blocks(m.T, step, "sh")...)
	m.are(want, orders)
}

// thereAndBack takes a step, its way back, and the step again.
func (m *move) thereAndBack(step string, want keepers, orders int, before keepers, ordersAfter int) {
	m.T.Helper()
	m.there(step, want, orders)
	m.shell.run(m.page.blocks(m.T, step, "sh back")...)
	m.are(before, ordersAfter)
	m.again(step, want, orders)
}

// untouched expects that anycert wrote no Secret of clusters. What check --connect asks
// about its rights is a write by its verb.
func (m *move) untouched(since world.Moment, clusters ...string) {
	m.T.Helper()
	for _, cluster := range clusters {
		for _, r := range kubeserver.Writes(m.ClusterSince(since, cluster)) {
			if r.Resource == "secrets" {
				m.T.Errorf("anycert wrote to the cluster %s: %s %s/%s", cluster, r.Verb, r.Namespace, r.Name)
			}
		}
	}
}

// are waits until the Secrets are kept by whom they should be, and looks whether orders
// were made.
func (m *move) are(want keepers, orders int) {
	m.T.Helper()
	var got keepers
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		got = keepers{m.keeper("old", "web"), m.keeper("new", "web"), m.keeper("new", "api")}
		if got == want {
			break
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		m.T.Fatalf("who keeps old web, new web, new api (-want +got):\n%s", diff)
	}
	if n := len(m.ACME.Orders()); n != orders {
		m.T.Fatalf("%d orders were made, want %d", n, orders)
	}
}

// keeper tells who keeps a Secret: whose is declared, and whose content it has. When
// that cannot be told from the content, since all have the same, the mark decides.
func (m *move) keeper(cluster, namespace string) string {
	m.T.Helper()
	chain, key := m.InCluster(cluster, namespace, "example-tls")
	if chain == nil {
		return "nobody: it is gone"
	}
	theirs := map[string]string{
		"old": "/apis/cert-manager.io/v1/namespaces/web/certificates/example",
		"new": "/apis/external-secrets.io/v1/namespaces/" + namespace + "/externalsecrets/example-tls",
	}[cluster]
	owner, err := m.others.object(m.T.Context(), cluster, theirs)
	m.Must(err)
	if owner != nil {
		if pair, _ := m.others.state(); string(pair.ChainPEM) != string(chain) || string(pair.KeyPEM) != string(key) {
			return "theirs, with another certificate"
		}
		return map[string]string{"old": "cert-manager", "new": "External Secrets"}[cluster]
	}
	found := secret(m.World, cluster, namespace, "example-tls")
	switch {
	case found.Annotations["anycert.dev/owner"] != "example-prod" || len(found.OwnerReferences) > 0:
		return "nobody"
	case m.Stored("example").Same(chain, key) != nil:
		return "anycert, with another certificate than Vault's"
	}
	return "anycert"
}

// everyBlockRan expects that no command of the sections was left out.
func (m *move) everyBlockRan(sections ...string) {
	m.T.Helper()
	for _, section := range sections {
		for _, match := range fence.FindAllStringSubmatch(m.page[section], -1) {
			if match[1] != "text" && !m.shell.ran[match[2]] {
				m.T.Errorf("a block of the section %q was not run:\n%s", section, match[2])
			}
		}
	}
}

// A cluster for another, by the guide's commands.
func TestClusterForAnother(t *testing.T) {
	w := world.New(t, world.Options{Clusters: []string{"blue", "green"}})
	for _, cluster := range w.Clusters {
		w.Must(cluster.CreateNamespaces(t.Context(), "web"))
	}
	contexts(w, "blue", "green")
	pair := aged(t, w, day)
	w.Put("example", pair)
	w.File("config.yaml", strings.Replace(oneSink, "NAME", "blue", 2))
	m := &move{World: w, page: readPage(w), shell: newShell(w)}
	m.sync()
	before := secret(w, "blue", "web", "example-tls")
	blocks := m.page.blocks(t, "A cluster for another", "sh green")
	if printed := m.shell.run(blocks[0]); !strings.Contains(printed, "notAfter=") {
		t.Errorf("it does not show what green has:\n%s", printed)
	}
	holds(w, "green", "web", pair)
	m.shell.run(blocks[1:]...)
	if diff := cmp.Diff(before, secret(w, "blue", "web", "example-tls")); diff != "" {
		t.Errorf("blue was touched:\n%s", diff)
	}
	m.everyBlockRan("A cluster for another")
}

// oneSink is a configuration with one cluster, whose context is called as the sink is.
const oneSink = `version: 1
owner: example-prod
store: {vault: {}}
certificates:
  - {name: example, domains: [example.com, "*.example.com"]}
sinks:
  - name: NAME
    type: kubernetes
    certificates: [example]
    config: {context: NAME, namespaces: [web], adopt: []}
`

// The shorter sections: files, KCert, and out again.
func TestOtherWaysInAndOut(t *testing.T) {
	w := world.New(t, world.Options{Clusters: []string{"old"}})
	w.Must(w.Clusters["old"].CreateNamespaces(t.Context(), "web"))
	contexts(w, "old")
	m := &move{World: w, page: readPage(w), shell: newShell(w, "/etc/letsencrypt", w.Path("letsencrypt"))}
	w.File("config.yaml", strings.Replace(oneSink, "NAME", "old", 2))

	pair := aged(t, w, 10*day)
	m.shell.run("mkdir -p " + w.Path("letsencrypt/live/example.com") + "\n")
	w.File("letsencrypt/live/example.com/fullchain.pem", string(pair.ChainPEM))
	w.File("letsencrypt/live/example.com/privkey.pem", string(pair.KeyPEM))
	m.shell.run(m.page.blocks(t, "From certbot or lego", "sh files")...)
	if err := w.Stored("example").Same(pair.ChainPEM, pair.KeyPEM); err != nil {
		t.Errorf("Vault has %v", err)
	}
	m.everyBlockRan("From certbot or lego")

	m.shell.run("vault kv metadata delete -mount=secret anycert/certs/example\n")
	m.kubectl("old", kcert(pair.ChainPEM, pair.KeyPEM), "create", "-f", "-")
	m.shell.run(m.page.blocks(t, "From KCert", "sh kcert")...)
	found := secret(w, "old", "web", "example-tls")
	if found.Annotations["anycert.dev/owner"] != "example-prod" || found.Labels["kcert.dev/secret"] != "" {
		t.Errorf("KCert's Secret was not taken over: %v %v", found.Labels, found.Annotations)
	}
	holds(w, "old", "web", pair)
	m.everyBlockRan("From KCert")

	if printed := m.shell.run(m.page.blocks(t, "Moving out", "sh out")...); !strings.Contains(printed, "notAfter=") {
		t.Errorf("it does not show what Vault has:\n%s", printed)
	}
	found = secret(w, "old", "web", "example-tls")
	if len(found.Labels) != 0 || len(found.Annotations) != 0 {
		t.Errorf("marks are left: %v %v", found.Labels, found.Annotations)
	}
	holds(w, "old", "web", pair)
	m.everyBlockRan("Moving out")
}

// kcert is what KCert made for an Ingress, and the Ingress.
func kcert(chain, key []byte) string {
	return `
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: example, namespace: web, labels: {kcert.dev/ingress: managed}}
spec:
  tls: [{hosts: [example.com], secretName: example-tls}]
  defaultBackend: {service: {name: example, port: {number: 80}}}
---
apiVersion: v1
kind: Secret
type: kubernetes.io/tls
metadata: {name: example-tls, namespace: web, labels: {kcert.dev/secret: managed}}
data: {tls.crt: ` + base64.StdEncoding.EncodeToString(chain) + `, tls.key: ` + base64.StdEncoding.EncodeToString(key) + `}
`
}
