package notify

import (
	"crypto/x509"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/trusted"
)

// Config is one receiver of alarms: exactly one of the two, under a name. What is told, and
// how to verify it, is in [alarms.md](alarms.md).
type Config struct {
	// Name is its name in logs and metrics.
	Name string `yaml:"name"`
	// Webhook is a URL that each event is posted to, as JSON.
	Webhook *Webhook `yaml:"webhook"`
	// Alertmanager is one of Prometheus, version 0.16 or later.
	Alertmanager *Alertmanager `yaml:"alertmanager"`
}

// Webhook is told when an alarm starts, changes and ends.
type Webhook struct {
	// URL is where to post to. One that is a secret itself, as those of chats are, is a
	// reference.
	URL URL `yaml:"url"`
	// Secret signs what is posted (https://www.standardwebhooks.com): "whsec_" and base64,
	// or any text of 24 bytes or more. Default: none, and nothing is signed.
	Secret anycert.Reference `yaml:"secret"`
	// CABundle is a file with the CAs to trust, in PEM. Default: the system's.
	CABundle string `yaml:"ca_bundle"`
}

// Alertmanager is told every minute which alarms are on.
type Alertmanager struct {
	// URL is its address, without /api/v2.
	URL URL `yaml:"url"`
	// Token is sent as a bearer token. Default: none.
	Token anycert.Reference `yaml:"token"`
	// Username is for basic authentication. Default: none.
	Username string `yaml:"username"`
	// Password belongs to the username.
	Password anycert.Reference `yaml:"password"`
	// CABundle is a file with the CAs to trust, in PEM. Default: the system's.
	CABundle string `yaml:"ca_bundle"`
}

// URL is written plainly, or a reference to where it is kept.
type URL struct {
	Plain     string
	Reference anycert.Reference
}

// UnmarshalYAML takes a text or a reference.
func (u *URL) UnmarshalYAML(unmarshal func(any) error) error {
	var kind any
	if err := unmarshal(&kind); err != nil {
		return err
	}
	if _, mapping := kind.(map[string]any); mapping {
		return unmarshal(&u.Reference)
	}
	return unmarshal(&u.Plain)
}

// Check lists every mistake. It opens and asks nothing.
func (c Config) Check() []anycert.Problem {
	switch {
	case c.Webhook == nil && c.Alertmanager == nil:
		return []anycert.Problem{{Text: "it says nothing about where to: write webhook: {url: …} or alertmanager: {url: …}"}}
	case c.Webhook != nil && c.Alertmanager != nil:
		return []anycert.Problem{{Field: "alertmanager", Text: "a receiver is one place: give the webhook and this a name each"}}
	case c.Webhook != nil:
		return c.Webhook.URL.check("webhook.url", false)
	}
	a := c.Alertmanager
	problems := a.URL.check("alertmanager.url", !a.Token.IsZero() || !a.Password.IsZero())
	switch {
	case a.Username == "" && !a.Password.IsZero():
		problems = append(problems, anycert.Problem{Field: "alertmanager.password", Text: "whose it is is missing: write username"})
	case a.Username != "" && a.Password.IsZero():
		problems = append(problems, anycert.Problem{Field: "alertmanager.username", Text: "its password is missing: write password: {file: …}"})
	case a.Username != "" && !a.Token.IsZero():
		problems = append(problems, anycert.Problem{Field: "alertmanager.token", Text: "there are two ways to log in: keep the token, or username and password"})
	}
	return problems
}

// check tells what is wrong with a URL, and shows nothing of it. One that credentials are
// sent to is not http, but on this machine.
func (u URL) check(field string, credentials bool) []anycert.Problem {
	if !u.Reference.IsZero() {
		return nil
	}
	if u.Plain == "" {
		return []anycert.Problem{{Field: field, Text: "it is missing: write https://…, or name where it is kept: {file: …}"}}
	}
	if _, err := parseURL(u.Plain, credentials); err != nil {
		return []anycert.Problem{{Field: field, Text: err.Error()}}
	}
	return nil
}

// parseURL shows nothing of what it is given in its errors: it may be a secret.
func parseURL(text string, credentials bool) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return nil, fmt.Errorf("this is no URL: write https://HOST/…")
	case u.User != nil:
		return nil, fmt.Errorf("a password does not belong into a URL: name the whole URL as {file: …}, or use username and password")
	case credentials && u.Scheme == "http" && !loopback(u.Hostname()):
		return nil, fmt.Errorf("http:// sends what is secret in the clear: use https:// for what is not on this machine")
	}
	u.Fragment = ""
	return u, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Files are those that the configuration names, beside references.
func (c Config) Files() []string {
	switch {
	case c.Webhook != nil && c.Webhook.CABundle != "":
		return []string{c.Webhook.CABundle}
	case c.Alertmanager != nil && c.Alertmanager.CABundle != "":
		return []string{c.Alertmanager.CABundle}
	}
	return nil
}

// maxRoots bounds a file of CAs, in bytes.
const maxRoots = 1 << 20

// readRoots reads the CAs of a file; nil for no file: the system's.
func readRoots(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	text, err := trusted.Read(path, maxRoots)
	if err != nil {
		return nil, fmt.Errorf("ca_bundle: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("ca_bundle %s holds no certificate in PEM", path)
	}
	return roots, nil
}

// Env is what every receiver is given beside its own configuration.
type Env struct {
	Owner      string // of the configuration
	UserAgent  string // "anycert/<version>"
	Credential func(anycert.Reference) anycert.Credential
}

// Receiver is somebody who is told of alarms.
type Receiver struct {
	Name string

	webhook      *webhook // exactly one of the two
	alertmanager *manager
}

// Open makes the receiver. Files that it names are read; nobody is asked over the network.
func (c Config) Open(env Env) (*Receiver, error) {
	r := &Receiver{Name: c.Name}
	credential := func(reference anycert.Reference) anycert.Credential {
		if reference.IsZero() {
			return nil
		}
		return env.Credential(reference)
	}
	if c.Webhook != nil {
		to, err := newEndpoint(c.Webhook.URL, c.Webhook.CABundle, "", env)
		r.webhook = &webhook{to, env.Owner, credential(c.Webhook.Secret)}
		return r, err
	}
	a := c.Alertmanager
	to, err := newEndpoint(a.URL, a.CABundle, "api/v2/alerts", env)
	if err != nil {
		return nil, err
	}
	to.credentials = !a.Token.IsZero() || !a.Password.IsZero()
	r.alertmanager = &manager{to, env.Owner, credential(a.Token), strings.TrimSpace(a.Username), credential(a.Password)}
	return r, nil
}
