package alarms

import (
	"crypto/rand"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/anycert/anycert/internal/testenv/alertmanager"
	"github.com/anycert/anycert/internal/testenv/hookserver"
	"github.com/anycert/anycert/internal/testenv/leak"
	"github.com/anycert/anycert/internal/testenv/world"
)

// scene is a hub with one certificate, whose DNS credential is in a file, and two who are
// told of alarms.
type scene struct {
	*world.World
	hook       *hookserver.Server
	prometheus *alertmanager.Server
	credential string // the path of the file
	settings   settings
	config     string
}

// settings are what the configuration is made of. Another e-mail address makes another
// configuration of the issuer, so that what failed is tried at once.
type settings struct {
	*world.World
	Auth, Pebble, URL, Secret, Prometheus string
	Email                                 string
}

const configuration = `version: 1
owner: hub
store: {{.World.Store .Auth}}
issuers: [{{.Pebble}}]
certificates:
  - {name: example, owner: web team, description: the site and its API, domains: [example.com, "*.example.com"], issuer: pebble}
sinks:
  - {name: nginx, type: file, certificates: [example], config: {dir: {{.World.Files}}}}
notify:
  - {name: oncall, webhook: {url: {{.URL}}, secret: {{.Secret}}}}
  - {name: prometheus, alertmanager: {url: "{{.Prometheus}}"}}
reconcile: {schedule: "@every 5s"}
http: {listen: "127.0.0.1:0"}
`

var tsigFile = regexp.MustCompile(`DNSUPDATE_TSIG_SECRET: \{file: ([^}]+)\}`)

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{World: world.New(t, world.Options{})}
	s.hook = hookserver.Start("canary-"+rand.Text(), []byte(rand.Text()+rand.Text()))
	t.Cleanup(s.hook.Close)
	var err error
	s.prometheus, err = alertmanager.Start(t.Context(), t.TempDir(), "http://127.0.0.1:9/")
	s.Must(err)
	t.Cleanup(s.prometheus.Close)
	pebble := s.Issuer("pebble")
	found := tsigFile.FindStringSubmatch(pebble)
	if found == nil {
		t.Fatalf("the issuer names no file: %s", pebble)
	}
	s.credential = found[1]
	s.settings = settings{s.World, s.Root(), pebble, s.Reference(s.hook.URL), s.Reference(s.hook.Secret), s.prometheus.URL, "ops"}
	s.config = s.Config("hub.yaml", configuration, s.settings)
	return s
}

// anew changes the configuration of the issuer.
func (s *scene) anew(email string) {
	s.T.Helper()
	s.settings.Pebble = strings.ReplaceAll(s.settings.Pebble, s.settings.Email+"@example.com", email+"@example.com")
	s.settings.Email = email
	s.config = s.Config("hub.yaml", configuration, s.settings)
}

// give puts a secret where the configuration says that it is.
func (s *scene) give(secret string) {
	s.T.Helper()
	s.Must(os.WriteFile(s.credential, []byte(secret), 0o600))
}

// told waits until the webhook has taken just these events, by what they begin with.
func (s *scene) told(d *world.Daemon, want ...string) []hookserver.Event {
	s.T.Helper()
	var events []hookserver.Event
	d.Await(fmt.Sprintf("has told %q", want), func() error {
		var got, texts []string
		events = s.hook.Events()
		for _, e := range events {
			got = append(got, e.String())
			texts = append(texts, e.Alarm.Text)
		}
		if !slices.Equal(got, want) {
			return fmt.Errorf("it has told %q, which say %q; wrong was %q", got, texts, s.hook.Problems())
		}
		return nil
	})
	return events
}

// alerted waits until the Alertmanager has just these alerts, by name and severity.
func (s *scene) alerted(d *world.Daemon, want ...string) {
	s.T.Helper()
	d.Await(fmt.Sprintf("has alerted %q", want), func() error {
		var got []string
		alerts, err := s.prometheus.Alerts(s.T.Context())
		for _, a := range alerts {
			got = append(got, a.Labels["alertname"]+" "+a.Labels["severity"]+" "+a.Labels["certificate"]+" "+a.Annotations["owner"])
		}
		if err == nil && !slices.Equal(got, want) {
			err = fmt.Errorf("there are %q", got)
		}
		return err
	})
}

// asksNothing expects that the CA was asked for no order, and so for no authorization.
func (s *scene) asksNothing(when string) {
	s.T.Helper()
	if n := len(s.ACME.Orders()); n != 0 {
		s.T.Errorf("%s: the CA was asked for %d orders", when, n)
	}
}

// tells no secret: neither in what is told nor in logs.
func (s *scene) noSecrets(daemons ...*world.Daemon) {
	s.T.Helper()
	search, err := leak.New(
		leak.Secret{Name: "the DNS credential", Token: s.DNS.Secret},
		leak.Secret{Name: "Vault's token", Token: s.Vault.RootToken},
		leak.Secret{Name: "the webhook's secret", Token: s.hook.Secret},
		leak.Secret{Name: "the webhook's URL", Token: s.hook.Path},
		leak.Secret{Name: "the certificate's key", PEM: s.Stored("example").Key},
	)
	s.Must(err)
	found := search.Bytes("what was told", s.hook.Heard())
	for _, d := range daemons {
		found = append(found, search.Bytes("the log", d.Logged())...)
	}
	for _, f := range found {
		s.T.Error(f)
	}
	if problems := s.hook.Problems(); len(problems) > 0 {
		s.T.Errorf("the webhook took offence at %q", problems)
	}
}
