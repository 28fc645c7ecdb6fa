package notify

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/alertmanager"
	"github.com/anycert/anycert/internal/testenv/hookserver"
	"github.com/anycert/anycert/reconcile"
)

// The first example of the Standard Webhooks libraries.
func TestSignature(t *testing.T) {
	key, err := signingKey(anycert.NewSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))
	if err != nil {
		t.Fatal(err)
	}
	got := sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for _, bad := range []string{"whsec_%%%", "whsec_c2hvcnQ=", "short"} {
		if _, err := signingKey(anycert.NewSecret(bad)); err == nil || strings.Contains(err.Error(), "c2hvcnQ") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// secrets are credentials of a test.
type secrets map[anycert.Reference]*credential

type credential struct {
	text    string
	refused int
}

func (c *credential) Secret(context.Context) (anycert.Secret, error) {
	return anycert.NewSecret(c.text), nil
}
func (c *credential) Refused() { c.refused++ }

func (s secrets) env() Env {
	return Env{Owner: "prod", UserAgent: "anycert/test", Credential: func(r anycert.Reference) anycert.Credential { return s[r] }}
}

var (
	urlAt    = anycert.Reference{Env: "URL"}
	secretAt = anycert.Reference{Env: "SECRET"}
)

func event() Event {
	return Event{Schema: eventSchema, ID: "msg_1", Event: Start, Time: time.Now().UTC(),
		Alarm: reconcile.Alarm{Key: "renewal/shop", Kind: reconcile.RenewalAlarm, Severity: reconcile.Warning, Text: "refused", Since: time.Now()}}
}

const path = "T0000-canary-of-the-path"

func TestWebhookOnTheWire(t *testing.T) {
	server := hookserver.Start(path, []byte("canary of the key of the hook, 32"))
	defer server.Close()
	known := secrets{urlAt: {text: server.URL}, secretAt: {text: server.Secret}}
	receiver, err := Config{Name: "oncall", Webhook: &Webhook{URL: URL{Reference: urlAt}, Secret: secretAt}}.Open(known.env())
	if err != nil {
		t.Fatal(err)
	}
	if err := receiver.webhook.send(t.Context(), event(), time.Now()); err != nil {
		t.Error(err)
	}
	if events := server.Events(); len(events) != 1 || events[0].Hub != "prod" || len(server.Problems()) != 0 {
		t.Errorf("%v, %v", events, server.Problems())
	}
	for status, want := range map[int]string{302: "redirect", 307: "redirect", 401: "check the secret", 404: "check the url", 503: "503"} {
		server.Answer(status)
		asked := server.Asked()
		err := receiver.webhook.send(t.Context(), event(), time.Now())
		if err == nil || !strings.Contains(err.Error(), want) || shows(err) {
			t.Errorf("%d: %v", status, err)
		}
		if server.Asked() != asked+1 {
			t.Errorf("%d: it was asked %d times", status, server.Asked()-asked)
		}
	}
	if known[secretAt].refused != 1 || known[urlAt].refused != 2 {
		t.Errorf("refusals were told %d and %d times", known[secretAt].refused, known[urlAt].refused)
	}
	if err := receiver.Probe(t.Context()); err != nil {
		t.Error(err)
	}
	asked := server.Asked()
	server.Close()
	if err := receiver.Probe(t.Context()); err == nil || shows(err) {
		t.Error(err)
	}
	if err := receiver.webhook.send(t.Context(), event(), time.Now()); err == nil || shows(err) {
		t.Error(err)
	}
	if server.Asked() != asked {
		t.Error("a probe sends something")
	}
	for _, bad := range []string{"http://hooks.example.com/" + path, "ftp://" + path, "http://\x7f/" + path, path, "https://user:" + path + "@hooks.example.com/"} {
		known[urlAt].text = bad
		if err := receiver.webhook.send(t.Context(), event(), time.Now()); err == nil || shows(err) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// What people call things stays text: in JSON, and on one line for a chat.
func TestOddNames(t *testing.T) {
	e := event()
	e.Alarm.Owner, e.Alarm.Description = "the \"web\" team\n<b>", "a\x00b\r\nWARNING: all is well"
	body, err := e.body("prod")
	var back message
	if err != nil || json.Unmarshal(body, &back) != nil || back.Alarm.Owner != e.Alarm.Owner || back.Alarm.Description != e.Alarm.Description {
		t.Errorf("%s, %v", body, err)
	}
	if want := `warning (a·b WARNING: all is well) [the "web" team <b>]: refused`; back.Text != want {
		t.Errorf("%q, want %q", back.Text, want)
	}
}

// shows reports whether an error has anything of a URL, a key or an answer in it.
func shows(err error) bool {
	for _, secret := range []string{"canary", "127.0.0.1", "hooks.example.com", "not to be seen"} {
		if strings.Contains(err.Error(), secret) {
			return true
		}
	}
	return false
}

// The certificate of a receiver is verified, by the CA that is named.
func TestPrivateCA(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	config := Config{Name: "oncall", Webhook: &Webhook{URL: URL{Plain: server.URL + "/" + path}}}
	receiver, err := config.Open(secrets{}.env())
	if err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{"send": receiver.webhook.send(t.Context(), event(), time.Now()), "probe": receiver.Probe(t.Context())} {
		if err == nil || !strings.Contains(err.Error(), "ca_bundle") || shows(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
	config.Webhook.CABundle = filepath.Join(t.TempDir(), "ca.pem")
	if _, err := config.Open(secrets{}.env()); err == nil {
		t.Error("a bundle that is not there")
	}
	if err := os.WriteFile(config.Webhook.CABundle, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	if receiver, err = config.Open(secrets{}.env()); err != nil {
		t.Fatal(err)
	}
	if err := receiver.webhook.send(t.Context(), event(), time.Now()); err != nil {
		t.Error(err)
	}
	if err := receiver.Probe(t.Context()); err != nil {
		t.Error(err)
	}
}

// The real Alertmanager takes what is on, another severity, and the end.
func TestAlertmanager(t *testing.T) {
	server, err := alertmanager.Start(t.Context(), t.TempDir(), "http://127.0.0.1:9/")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	known := secrets{secretAt: {text: "a token"}}
	receiver, err := Config{Name: "am", Alertmanager: &Alertmanager{URL: URL{Plain: server.URL + "/"}, Token: secretAt}}.Open(known.env())
	if err != nil {
		t.Fatal(err)
	}
	if err := receiver.Probe(t.Context()); err != nil {
		t.Error(err)
	}
	tell := func(l ledger, now time.Time) []alertmanager.Alert {
		t.Helper()
		if err := receiver.alertmanager.send(t.Context(), alerts(l, "prod", now)); err != nil {
			t.Fatal(err)
		}
		on, err := server.Alerts(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return on
	}
	now := time.Now()
	book := newLedger()
	a := reconcile.Alarm{Key: "renewal/shop", Kind: reconcile.RenewalAlarm, Severity: reconcile.Warning, Certificate: "shop", Owner: "web team",
		Description: "the shop", Text: "the token was refused", Since: now.Add(-time.Minute)}
	book.Alarms[a.Key] = entry{Alarm: a, Told: now}
	on := tell(book, now)
	if len(on) != 1 || on[0].Labels["alertname"] != "AnycertRenewal" || on[0].Labels["certificate"] != "shop" || on[0].Labels["severity"] != "warning" ||
		on[0].Labels["hub"] != "prod" || on[0].Annotations["owner"] != "web team" || on[0].Annotations["description"] != "the token was refused" ||
		on[0].EndsAt.Before(now.Add(5*time.Minute)) {
		t.Fatalf("%+v", on)
	}
	a.Severity = reconcile.Critical
	book.Alarms[a.Key] = entry{Alarm: a, Told: now, Was: reconcile.Warning}
	if on = tell(book, now.Add(time.Second)); len(on) != 1 || on[0].Labels["severity"] != "critical" {
		t.Errorf("another severity: %+v", on)
	}
	book.Alarms[a.Key] = entry{Alarm: a, Told: now, Ended: now}
	if on = tell(book, now.Add(2*time.Second)); len(on) != 0 {
		t.Errorf("after the end: %+v", on)
	}
}

// Who logs in to an Alertmanager does so as it is configured.
func TestAlertmanagerCredentials(t *testing.T) {
	var got string
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Get("Authorization")
		w.WriteHeader(status)
	}))
	defer server.Close()
	for want, config := range map[string]Alertmanager{
		"Bearer hunter2":             {Token: secretAt},
		"Basic YWxpY2U6aHVudGVyMg==": {Username: "alice", Password: secretAt},
		"":                           {},
	} {
		known := secrets{secretAt: {text: "hunter2"}}
		config.URL.Plain = server.URL
		receiver, err := Config{Name: "am", Alertmanager: &config}.Open(known.env())
		if err != nil {
			t.Fatal(err)
		}
		status = http.StatusForbidden
		err = receiver.alertmanager.send(t.Context(), nil)
		if got != want || err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q, want %q (%v)", got, want, err)
		}
		if want != "" && known[secretAt].refused != 1 {
			t.Error("the refusal is not told")
		}
	}
}

func TestCheck(t *testing.T) {
	url := URL{Plain: "https://hooks.example.com/x"}
	for _, test := range []struct {
		config Config
		want   string // field and a word; empty: none
	}{
		{Config{Webhook: &Webhook{URL: url}}, ""},
		{Config{Webhook: &Webhook{URL: URL{Reference: urlAt}}}, ""},
		{Config{Alertmanager: &Alertmanager{URL: URL{Plain: "http://alertmanager:9093"}}}, ""},
		{Config{}, ": it says nothing"},
		{Config{Webhook: &Webhook{URL: url}, Alertmanager: &Alertmanager{URL: url}}, "alertmanager: a receiver is one place"},
		{Config{Webhook: &Webhook{}}, "webhook.url: it is missing"},
		{Config{Webhook: &Webhook{URL: URL{Plain: "hooks.example.com/hunter2"}}}, "webhook.url: this is no URL"},
		{Config{Webhook: &Webhook{URL: URL{Plain: "https://a:hunter2@example.com/"}}}, "webhook.url: a password"},
		{Config{Alertmanager: &Alertmanager{URL: URL{Plain: "http://alertmanager:9093"}, Token: secretAt}}, "alertmanager.url: http:// sends"},
		{Config{Alertmanager: &Alertmanager{URL: url, Username: "alice"}}, "alertmanager.username: its password"},
		{Config{Alertmanager: &Alertmanager{URL: url, Password: secretAt}}, "alertmanager.password: whose"},
		{Config{Alertmanager: &Alertmanager{URL: url, Username: "alice", Password: secretAt, Token: secretAt}}, "alertmanager.token: there are two"},
	} {
		got := ""
		for _, p := range test.config.Check() {
			got += p.Field + ": " + p.Text
		}
		if !strings.HasPrefix(got, test.want) || (got == "") != (test.want == "") || strings.Contains(got, "hunter2") {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
}
