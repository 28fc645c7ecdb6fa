package dns01

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/anycert/anycert"
)

// samples make each provider of every build, offline.
var samples = map[string]map[string]string{
	"acme-dns":     {"ACME_DNS_API_BASE": "https://auth.example.com", "ACME_DNS_STORAGE_PATH": "/nonexistent/acme-dns.json"},
	"cloudflare":   {"CF_DNS_API_TOKEN": "secret-1"},
	"digitalocean": {"DO_AUTH_TOKEN": "secret-1"},
	"dnsimple":     {"DNSIMPLE_OAUTH_TOKEN": "secret-1"},
	"gandiv5":      {"GANDIV5_PERSONAL_ACCESS_TOKEN": "secret-1"},
	"godaddy":      {"GODADDY_API_KEY": "secret-1", "GODADDY_API_SECRET": "secret-2"},
	"hetzner":      {"HETZNER_API_TOKEN": "secret-1"},
	"httpreq":      {"HTTPREQ_ENDPOINT": "https://dns.example.com"},
	"linode":       {"LINODE_TOKEN": "secret-1"},
	"ovh":          {"OVH_APPLICATION_KEY": "key", "OVH_APPLICATION_SECRET": "secret-1", "OVH_CONSUMER_KEY": "secret-2"},
	"porkbun":      {"PORKBUN_API_KEY": "secret-1", "PORKBUN_SECRET_API_KEY": "secret-2"},
	"rfc2136":      {"RFC2136_NAMESERVER": "192.0.2.53", "RFC2136_TSIG_KEY": "key", "RFC2136_TSIG_SECRET": "c2VjcmV0LTE=", "DNSUPDATE_TSIG_ALGORITHM": "hmac-sha256."},
	"route53":      {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret-1", "AWS_REGION": "eu-central-1"},
	"vultr":        {"VULTR_API_KEY": "secret-1"},
	"gcloud":       {"GCE_PROJECT": "project", "GCE_SERVICE_ACCOUNT": serviceAccount},
}

// online are the providers that ask the network when they are made.
var online = []string{"azuredns", "namecheap"}

const serviceAccount = `{"type":"service_account","project_id":"p","private_key":"-----BEGIN PRIVATE KEY-----\nnone\n-----END PRIVATE KEY-----\n","client_email":"a@p.iam.gserviceaccount.com","token_uri":"https://oauth2.googleapis.com/token"}`

func settingsOf(provider string, texts map[string]string) (Settings, func(anycert.Reference) anycert.Credential) {
	spec, _ := find(provider)
	settings := Settings{}
	for name, text := range texts {
		if known, _ := spec.find(name); known.secret {
			settings[name] = Setting{Reference: anycert.Reference{Env: name}}
			continue
		}
		settings[name] = Setting{Plain: text}
	}
	return settings, func(r anycert.Reference) anycert.Credential { return fixed(texts[r.Env]) }
}

type fixed string

func (f fixed) Secret(context.Context) (anycert.Secret, error) {
	return anycert.NewSecret(string(f)), nil
}
func (fixed) Refused() {}

func TestEveryProviderIsMadeFromItsSettings(t *testing.T) {
	for _, name := range []string{"CF_DNS_API_TOKEN", "AWS_REGION", "LINODE_TOKEN"} {
		t.Setenv(name, "")
	}
	made := append([]string{}, online...)
	for name, texts := range samples {
		made = append(made, name)
		t.Run(name, func(t *testing.T) {
			settings, credential := settingsOf(name, texts)
			config := Config{{Provider: name, Settings: settings, Resolvers: []string{"192.0.2.53"}}}
			if problems := config.Check(); len(problems) > 0 {
				t.Fatalf("%+v", problems)
			}
			solver, err := config.Open(t.Context(), Env{Credential: credential, Locks: new(Locks)})
			if err != nil {
				t.Fatal(err)
			}
			if timeout, interval := solver.providers[0].pace(); timeout <= 0 || interval <= 0 {
				t.Errorf("it waits %s, looking every %s", timeout, interval)
			}
		})
	}
	for _, name := range Names() {
		if _, builtin := builtin()[name]; builtin && !slices.Contains(made, name) {
			t.Errorf("%s has no sample", name)
		}
	}
	promised := strings.Fields("rfc2136 cloudflare route53 gcloud azuredns digitalocean dnsimple hetzner ovh gandiv5 porkbun namecheap godaddy linode vultr acme-dns httpreq")
	for _, name := range promised {
		if !slices.Contains(made, name) {
			t.Errorf("%s is promised and missing", name)
		}
	}
}

// TestEnvironmentIsLeftOutOfIt: what lego would read from the environment makes no
// provider, and changes none.
func TestEnvironmentIsLeftOutOfIt(t *testing.T) {
	t.Setenv("CF_DNS_API_TOKEN", "from-the-environment")
	t.Setenv("CLOUDFLARE_PROPAGATION_TIMEOUT", "7")
	t.Setenv("CLOUDFLARE_TTL", "1") // too short: lego refuses it
	settings, credential := settingsOf("cloudflare", samples["cloudflare"])
	solver, err := Config{{Provider: "cloudflare", Settings: settings, Resolvers: []string{"192.0.2.53"}}}.Open(t.Context(), Env{Credential: credential, Locks: new(Locks)})
	if err != nil {
		t.Fatal(err)
	}
	if timeout, _ := solver.providers[0].pace(); timeout.Seconds() != 120 {
		t.Errorf("it waits %s", timeout)
	}
}

func TestSettingOfTheWrongKindIsNamed(t *testing.T) {
	for name, text := range map[string]string{"CLOUDFLARE_TTL": "soon", "CLOUDFLARE_PROPAGATION_TIMEOUT": "1x", "CLOUDFLARE_HTTP_TIMEOUT": "?"} {
		settings, credential := settingsOf("cloudflare", map[string]string{"CF_DNS_API_TOKEN": "secret-1", name: text})
		_, err := Config{{Provider: "cloudflare", Settings: settings, Resolvers: []string{"192.0.2.53"}}}.Open(t.Context(), Env{Credential: credential, Locks: new(Locks)})
		if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "cloudflare") {
			t.Errorf("%s=%s: got %v", name, text, err)
		}
	}
}

// hook is a server for lego's provider httpreq.
type hook struct {
	*httptest.Server
	mu    sync.Mutex
	asked []string
}

func newHook(t *testing.T, answer func(w http.ResponseWriter, r *http.Request)) *hook {
	h := &hook{}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct{ FQDN, Value string }
		text, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(text, &body); err != nil {
			t.Error(err)
		}
		h.mu.Lock()
		h.asked = append(h.asked, r.URL.Path+" "+body.FQDN)
		h.mu.Unlock()
		if answer != nil {
			answer(w, r)
		}
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hook) open(t *testing.T, resolver, password string) *Solver {
	t.Helper()
	texts := map[string]string{"HTTPREQ_ENDPOINT": h.URL, "HTTPREQ_USERNAME": "anycert", "HTTPREQ_PASSWORD": password}
	settings, credential := settingsOf("httpreq", texts)
	solver, err := Config{{Provider: "httpreq", Settings: settings, Resolvers: []string{resolver}, Propagation: Unchecked}}.Open(t.Context(), Env{Credential: credential, Locks: new(Locks)})
	if err != nil {
		t.Fatal(err)
	}
	return solver
}

// TestLegoProvider goes through one of lego's own, from writing to cleaning up.
func TestLegoProvider(t *testing.T) {
	world := startDNS(t, map[string]string{"_acme-challenge.www.example.com.": "elsewhere.example.org."})
	h := newHook(t, nil)
	challenges := []Challenge{{Domain: "example.com", Token: "a", KeyAuth: "a.x"}, {Domain: "example.com", Token: "b", KeyAuth: "b.x"}, {Domain: "www.example.com", Token: "c", KeyAuth: "c.x"}}
	var accepted [3]bool
	err := h.open(t, world, "secret").Solve(t.Context(), challenges, false, func(_ context.Context, i int) error {
		accepted[i] = true
		return nil
	})
	if err != nil || accepted != [3]bool{true, true, true} {
		t.Errorf("accepted %v: %v", accepted, err)
	}
	counts := map[string]int{}
	for _, asked := range h.asked {
		counts[asked]++
	}
	want := map[string]int{"/present _acme-challenge.example.com.": 2, "/cleanup _acme-challenge.example.com.": 2,
		"/present elsewhere.example.org.": 1, "/cleanup elsewhere.example.org.": 1}
	if diff := cmp.Diff(want, counts); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestWildcardCNAMEIsNotFollowed, by lego neither: the record takes its place. One at the
// name itself is.
func TestWildcardCNAMEIsNotFollowed(t *testing.T) {
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{PacketConn: packets, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, request *dns.Msg) {
		reply := new(dns.Msg).SetReply(request)
		switch name := dns.CanonicalName(request.Question[0].Name); {
		case name == "_acme-challenge.own.example.com.":
			reply.Answer = []dns.RR{&dns.CNAME{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeCNAME, Class: dns.ClassINET}, Target: "own.example.org."}}
		case dns.IsSubDomain("example.com.", name):
			reply.Answer = []dns.RR{&dns.CNAME{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeCNAME, Class: dns.ClassINET}, Target: "edge.example.net."}}
		}
		_ = w.WriteMsg(reply)
	})}
	served := make(chan error, 1)
	go func() { served <- server.ActivateAndServe() }()
	t.Cleanup(func() { _ = packets.Close(); <-served })
	h := newHook(t, nil)
	for _, domain := range []string{"example.com", "own.example.com"} {
		err := h.open(t, packets.LocalAddr().String(), "secret").Solve(t.Context(), []Challenge{{Domain: domain}}, false, func(context.Context, int) error { return nil })
		if err != nil {
			t.Error(err)
		}
	}
	want := []string{"/present _acme-challenge.example.com.", "/cleanup _acme-challenge.example.com.", "/present own.example.org.", "/cleanup own.example.org."}
	if diff := cmp.Diff(want, h.asked); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestCleanedUpWhateverHappens: also when the CA says no, and when the context has
// ended.
func TestCleanedUpWhateverHappens(t *testing.T) {
	world := startDNS(t, nil)
	h := newHook(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	no := errors.New("no")
	err := h.open(t, world, "secret").Solve(ctx, []Challenge{{Domain: "example.com"}}, false, func(context.Context, int) error {
		cancel()
		return no
	})
	if !errors.Is(err, no) {
		t.Errorf("got %v", err)
	}
	if len(h.asked) != 2 || !strings.HasPrefix(h.asked[1], "/cleanup") {
		t.Errorf("asked %v", h.asked)
	}
}

// TestEchoedCredentialIsNotShown: the DNS provider's error shows the request.
func TestEchoedCredentialIsNotShown(t *testing.T) {
	const password = "hunter2-hunter2-hunter2"
	t.Setenv("LEGO_DEBUG_DNS_API_HTTP_CLIENT", "true")
	world := startDNS(t, nil)
	h := newHook(t, func(w http.ResponseWriter, r *http.Request) {
		user, pass, _ := r.BasicAuth()
		http.Error(w, fmt.Sprintf("bad request: Authorization: %s (%s:%s)", r.Header.Get("Authorization"), user, pass), http.StatusUnauthorized)
	})
	printed := capture(t, func() {
		err := h.open(t, world, password).Solve(t.Context(), []Challenge{{Domain: "example.com"}}, false, func(context.Context, int) error {
			t.Error("the CA was told")
			return nil
		})
		if err == nil || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "Authorization") {
			t.Errorf("got %v", err)
		}
		if !strings.Contains(err.Error(), "withheld") || !strings.Contains(err.Error(), "httpreq") {
			t.Errorf("it does not say what happened: %v", err)
		}
	})
	if printed != "" {
		t.Errorf("lego prints: %s", printed)
	}
}

// capture returns what f writes to stdout and stderr.
func capture(t *testing.T, f func()) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "printed")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	stdout, stderr := os.Stdout, os.Stderr
	os.Stdout, os.Stderr = file, file
	defer func() { os.Stdout, os.Stderr = stdout, stderr }()
	f()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
