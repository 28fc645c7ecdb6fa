package issuer

import (
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/issuer/dns01"
	"github.com/anycert/anycert/issuer/limits"
)

// Config is one issuer: an account at an ACME CA (RFC 8555), and the way to prove
// control of domains to it. Whoever configures an issuer agrees to the CA's terms
// of service.
type Config struct {
	// Name is what certificates call it, and where its account is kept in the
	// store: a change of name makes a new account.
	Name string `yaml:"name"`
	// Directory is "letsencrypt", "letsencrypt-staging", or the https URL of a
	// CA's directory.
	Directory string `yaml:"directory"`
	// Staging is a directory as above, of the same CA but for trying out: after a failure
	// at the CA the domains are proven there first, where nothing counts. Optional.
	Staging string `yaml:"staging"`
	// Email is given to the CA with the account. Optional.
	Email string `yaml:"email"`
	// Profile is the kind of certificate that is asked for, one of those that the
	// CA's directory lists. Left out: the CA's default.
	Profile string `yaml:"profile"`
	// PreferredChain is the common name of an issuer in the chain that is wanted,
	// where the CA offers several. Where none has it, the CA's default is taken.
	PreferredChain string `yaml:"preferred_chain"`
	// CABundle is a PEM file with the CAs that the directory's own TLS
	// certificate is checked against, instead of the system's.
	CABundle string `yaml:"ca_bundle"`
	// EAB ties a new account to one at the CA's shop, where the CA asks for it
	// (RFC 8555, section 7.3.4).
	EAB *EAB `yaml:"eab"`
	// Limits are how much the CA lets one account ask for, so that no more is asked:
	// letsencrypt, none, or numbers, as in {orders: 300 in 3h, domain: 50 in 7d, names:
	// 5 in 7d, failures: 5 in 1h}: new orders, certificates for a registered domain, those
	// for exactly the same names, and failed validations of a name. What is not written
	// goes by the directory, or by like: letsencrypt. Left out: what Let's Encrypt
	// publishes for its directories, and none for other CAs.
	Limits limits.Config `yaml:"limits"`
	// DNS is where _acme-challenge records are written.
	DNS dns01.Config `yaml:"dns"`
	// Propagation says who must have seen a record before the CA is told:
	// "authoritative", every name server of the zone (the default); "recursive", the
	// resolvers alone, where port 53 of the name servers is closed to here; or
	// {wait: DURATION}, nobody, and the CA is told after that time.
	Propagation dns01.Propagation `yaml:"propagation"`
}

// EAB is an external account binding.
type EAB struct {
	KID  string            `yaml:"kid"`  // key identifier
	HMAC anycert.Reference `yaml:"hmac"` // MAC key, base64url
}

// The directories that have a name.
const (
	letsEncrypt        = "https://acme-v02.api.letsencrypt.org/directory"
	letsEncryptStaging = "https://acme-staging-v02.api.letsencrypt.org/directory"
)

// DirectoryURL is the URL that Directory stands for.
func (c Config) DirectoryURL() string { return directoryURL(c.Directory) }

func directoryURL(written string) string {
	switch written {
	case "letsencrypt":
		return letsEncrypt
	case "letsencrypt-staging":
		return letsEncryptStaging
	}
	return written
}

// Check lists every mistake. It opens and asks nothing.
func (c Config) Check() (problems []anycert.Problem) {
	add := func(field, format string, args ...any) {
		problems = append(problems, anycert.Problem{Field: field, Text: fmt.Sprintf(format, args...)})
	}
	if err := anycert.CheckName(c.Name); err != nil {
		add("name", "%v", err)
	}
	if err := checkDirectory(c.Directory, c.DirectoryURL()); err != nil {
		add("directory", "%v", err)
	}
	if c.Staging != "" {
		if err := checkDirectory(c.Staging, directoryURL(c.Staging)); err != nil {
			add("staging", "%v", err)
		} else if directoryURL(c.Staging) == c.DirectoryURL() {
			add("staging", "it is the directory itself: nothing can be tried out there, so leave it out")
		}
	}
	if c.Email != "" && !plausibleEmail(c.Email) {
		add("email", "%q is no mail address", c.Email)
	}
	if c.EAB != nil {
		if c.EAB.KID == "" {
			add("eab.kid", "the key identifier is missing: the CA shows it beside the MAC key")
		}
		if c.EAB.HMAC.IsZero() {
			add("eab.hmac", "the MAC key is missing: use {env: NAME}, {file: PATH} or {vault: MOUNT/PATH#FIELD}")
		}
	}
	if err := c.Propagation.Check(); err != nil {
		add("propagation", "%v", err)
	}
	for _, problem := range c.Limits.Check() {
		problem.Field = strings.TrimSuffix(join("limits", problem.Field), ".")
		problems = append(problems, problem)
	}
	for _, problem := range c.DNS.Check() {
		problem.Field = strings.TrimSuffix(join("dns", problem.Field), ".")
		problems = append(problems, problem)
	}
	return problems
}

func join(parent, field string) string {
	if strings.HasPrefix(field, "[") {
		return parent + field
	}
	return parent + "." + field
}

func checkDirectory(written, address string) error {
	if written == "" {
		return fmt.Errorf("the ACME directory is missing: use letsencrypt, letsencrypt-staging, or the https URL of a CA's directory")
	}
	parsed, err := url.Parse(address)
	switch {
	case err != nil || parsed.Host == "":
		return fmt.Errorf("%q is no ACME directory: use letsencrypt, letsencrypt-staging, or the https URL of a CA's directory", written)
	case parsed.Scheme != "https":
		return fmt.Errorf("%q is not https: ACME is spoken over TLS alone (RFC 8555, section 6.1); for a private CA name its root in ca_bundle", written)
	case parsed.User != nil:
		return fmt.Errorf("the directory's URL holds a user name: ACME has none, remove it")
	}
	return nil
}

// plausibleEmail refuses what mailto: would make something else of.
func plausibleEmail(address string) bool {
	local, domain, ok := strings.Cut(address, "@")
	return ok && local != "" && !strings.ContainsAny(address, " ,;:<>?&\"\\") &&
		(anycert.CheckDomain(strings.ToLower(domain)) == nil || net.ParseIP(strings.Trim(domain, "[]")) != nil)
}
