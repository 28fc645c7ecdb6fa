package store

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/anycert/anycert"
)

// Config is the part `store.vault` of the configuration. Every field may be left
// out: the environment then says what it says to the vault command.
type Config struct {
	// Address is the URL of Vault: https, or http on this machine. Default:
	// VAULT_ADDR.
	Address string `yaml:"address"`
	// Mount is where the KV version 2 secrets engine is. Default: secret.
	Mount string `yaml:"mount"`
	// Prefix is the path below which everything is kept. Default: anycert.
	Prefix string `yaml:"prefix"`
	// Namespace of Vault Enterprise. Default: VAULT_NAMESPACE.
	Namespace string `yaml:"namespace"`
	// CACert is a file with the CA to trust, in PEM. Default: VAULT_CACERT, then
	// the system's.
	CACert string `yaml:"ca_cert"`
	// Auth says how to log in.
	Auth Auth `yaml:"auth"`
}

// Auth says how to log in to Vault.
type Auth struct {
	// Method is token, approle, kubernetes, jwt or gcp. Default: token.
	Method string `yaml:"method"`
	// Mount is the path of the method below auth/. Default: the method's name.
	Mount string `yaml:"mount"`
	// Role to log in as: kubernetes, jwt, gcp.
	Role string `yaml:"role"`
	// Token, for method token. Default: VAULT_TOKEN, then ~/.vault-token.
	Token anycert.Reference `yaml:"token"`
	// RoleID and SecretID, for method approle.
	RoleID   string            `yaml:"role_id"`
	SecretID anycert.Reference `yaml:"secret_id"`
	// Wrapped says that SecretID names a wrapping token with the secret id in it.
	// It can be opened once, so a restart needs a new one.
	Wrapped bool `yaml:"wrapped"`
	// JWT, for method jwt.
	JWT anycert.Reference `yaml:"jwt"`
	// TokenPath is the file with the service account's token, for method
	// kubernetes. Default: where Kubernetes puts it.
	TokenPath string `yaml:"token_path"`
}

// Env is what a store is given beside its configuration.
type Env struct {
	Getenv     func(name string) string // the process's environment
	Home       string                   // folder of .vault-token
	UserAgent  string                   // "anycert/<version>"
	Credential func(anycert.Reference) anycert.Credential
}

const defaultTokenPath = "/var/run/secrets/kubernetes.io/serviceaccount/token"

// fields lists the fields of Auth that a method needs, and those that it takes
// beside them; ok is false for a method that there is not.
func fields(method string) (needs, takes []string, ok bool) {
	switch method {
	case "token":
		return nil, []string{"token"}, true
	case "approle":
		return []string{"role_id", "secret_id"}, []string{"mount", "wrapped"}, true
	case "kubernetes":
		return []string{"role"}, []string{"mount", "token_path"}, true
	case "jwt":
		return []string{"role", "jwt"}, []string{"mount"}, true
	case "gcp":
		return []string{"role"}, []string{"mount"}, true
	}
	return nil, nil, false
}

// segments is a path in Vault: no empty part, and none that leads upwards.
var segments = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$`)

// Check lists every mistake. It asks nobody and reads no environment.
func (c Config) Check() []anycert.Problem {
	var problems []anycert.Problem
	report := func(field, format string, args ...any) {
		problems = append(problems, anycert.Problem{Field: field, Text: fmt.Sprintf(format, args...)})
	}
	if c.Address != "" {
		if err := checkAddress(c.Address); err != nil {
			report("address", "%v", err)
		}
	}
	for _, p := range []struct{ field, path string }{{"mount", c.Mount}, {"prefix", c.Prefix}, {"namespace", strings.TrimSuffix(c.Namespace, "/")}, {"auth.mount", c.Auth.Mount}} {
		if p.path != "" && !segments.MatchString(p.path) {
			report(p.field, "%q is not a path in Vault: use letters, digits, '-', '_' and '.', and '/' between them", p.path)
		}
	}
	return append(problems, c.Auth.check()...)
}

func (a Auth) check() []anycert.Problem {
	var problems []anycert.Problem
	report := func(field, format string, args ...any) {
		problems = append(problems, anycert.Problem{Field: "auth." + field, Text: fmt.Sprintf(format, args...)})
	}
	needs, takes, ok := fields(a.method())
	if !ok {
		report("method", "%q is not a way to log in: use one of token, approle, kubernetes, jwt, gcp", a.Method)
		return problems
	}
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"mount", a.Mount != ""}, {"role", a.Role != ""}, {"token", !a.Token.IsZero()},
		{"role_id", a.RoleID != ""}, {"secret_id", !a.SecretID.IsZero()}, {"wrapped", a.Wrapped},
		{"jwt", !a.JWT.IsZero()}, {"token_path", a.TokenPath != ""},
	} {
		switch needed := slices.Contains(needs, f.name); {
		case needed && !f.set:
			report(f.name, "is missing: method %s needs it", a.method())
		case f.set && !needed && !slices.Contains(takes, f.name):
			report(f.name, "is not for method %s: leave it out", a.method())
		}
	}
	for _, r := range []struct {
		name      string
		reference anycert.Reference
	}{{"token", a.Token}, {"secret_id", a.SecretID}, {"jwt", a.JWT}} {
		if r.reference.Vault != "" {
			report(r.name, "cannot be kept in Vault, for it opens Vault: use env or file")
		}
	}
	return problems
}

func (a Auth) method() string {
	if a.Method == "" {
		return "token"
	}
	return a.Method
}

// checkAddress tells what is wrong with the address of Vault.
func checkAddress(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return errors.New("it is not a URL like https://vault.example.com:8200")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return errors.New("it must hold no user, query or fragment")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return fmt.Errorf("http:// sends keys in the clear to %s: use https:// for what is not on this machine", u.Hostname())
	}
	return nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Open makes the store. It reads the CA's file and asks nobody over the network.
func (c Config) Open(env Env) (*Store, error) {
	if problems := c.Check(); len(problems) > 0 {
		return nil, fmt.Errorf("store.vault: %s: %s", problems[0].Field, problems[0].Text)
	}
	if skip, err := strconv.ParseBool(env.Getenv("VAULT_SKIP_VERIFY")); err == nil && skip || err != nil && env.Getenv("VAULT_SKIP_VERIFY") != "" {
		return nil, errors.New("store.vault: VAULT_SKIP_VERIFY is set, and anycert gives keys to nobody unverified: unset it, and name the CA in ca_cert or VAULT_CACERT")
	}
	address := or(c.Address, env.Getenv("VAULT_ADDR"))
	if address == "" {
		return nil, errors.New("store.vault: address: it is missing, and VAULT_ADDR is not set")
	}
	if err := checkAddress(address); err != nil {
		return nil, fmt.Errorf("store.vault: address: %w", err)
	}
	roots, err := readRoots(or(c.CACert, env.Getenv("VAULT_CACERT")))
	if err != nil {
		return nil, fmt.Errorf("store.vault: %w", err)
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("store.vault: address: %w", err)
	}
	v := &vault{
		address:   strings.TrimSuffix(address, "/"),
		namespace: or(c.Namespace, env.Getenv("VAULT_NAMESPACE")),
		userAgent: env.UserAgent,
		http: &http.Client{
			Transport:     &guard{scheme: u.Scheme, host: u.Host, next: newTransport(roots)},
			Timeout:       timeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		pause:    backoff,
		now:      time.Now,
		sessions: sessions{authenticate: c.Auth.authenticator(env), turn: make(chan struct{}, 1)},
	}
	if _, err := v.client(""); err != nil {
		return nil, fmt.Errorf("store.vault: %w", err)
	}
	return &Store{vault: v, mount: or(c.Mount, "secret"), prefix: or(c.Prefix, "anycert")}, nil
}

// authenticator makes what logs in. Check has found nothing wrong.
func (a Auth) authenticator(env Env) authenticator {
	mount := or(a.Mount, a.method())
	switch a.method() {
	case "approle":
		return loginMethod{mount, &appRole{roleID: a.RoleID, secretID: env.Credential(a.SecretID), wrapped: a.Wrapped}}
	case "kubernetes":
		return loginMethod{mount, roleToken{a.Role, tokenFile(or(a.TokenPath, defaultTokenPath))}}
	case "jwt":
		return loginMethod{mount, roleToken{a.Role, env.Credential(a.JWT)}}
	case "gcp":
		return loginMethod{mount, roleToken{a.Role, identity{host: or(env.Getenv("GCE_METADATA_HOST"), metadataHost), role: a.Role}}}
	}
	if a.Token.IsZero() {
		return givenToken{usualToken{env.Getenv, env.Home}}
	}
	return givenToken{env.Credential(a.Token)}
}

func or(text, fallback string) string {
	if text != "" {
		return text
	}
	return fallback
}
