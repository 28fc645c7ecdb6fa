package flytest

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// host is one hostname of an app: Fly.io's own certificate and ours side by side.
type host struct {
	app           *app
	name          string
	custom, own   *certificate
	acmeRequested bool
	created       time.Time
	updated       time.Time
}

// certificate is one chain with its key.
type certificate struct {
	fullchain, key string
	pair           tls.Certificate
	created        time.Time
}

// owned reports whether the hostname's ownership is proven. DNS that points at the
// app is enough for a host; a wildcard needs the TXT record.
func (h *host) owned() bool {
	return h.hasTXT() || h.isPointed() && !strings.HasPrefix(h.name, "*.")
}

func (h *host) hasTXT() bool    { return h.app.txt[ownershipName(h.name)] }
func (h *host) isPointed() bool { return h.app.pointed[h.name] }

// customStatus and status are the words of the API.
func (h *host) customStatus() string {
	if h.owned() {
		return "active"
	}
	return "pending_ownership"
}

func (h *host) status() string {
	switch {
	case h.own != nil:
		return "active"
	case h.custom != nil:
		return h.customStatus()
	}
	return "pending_validation"
}

// serves is the certificate that visitors get; nil when there is none.
func (h *host) serves() *tls.Certificate {
	switch {
	case h == nil:
		return nil
	case h.custom != nil && h.owned():
		return &h.custom.pair
	case h.own != nil:
		return &h.own.pair
	}
	return nil
}

func (a *app) hostnames() []string {
	if a == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(a.hosts))
}

// add returns the record of a hostname, made when it is new.
func (a *app) add(name string) *host {
	h := a.hosts[name]
	if h == nil {
		h = &host{app: a, name: name, created: time.Now().UTC().Truncate(time.Second)}
		a.hosts[name] = h
	}
	h.updated = time.Now().UTC().Truncate(time.Second)
	return h
}

// ownershipName is where the TXT record belongs: a wildcard's is its parent's.
func ownershipName(hostname string) string {
	return "_fly-ownership." + strings.TrimPrefix(hostname, "*.")
}

func (a *app) ownershipValue() string { return "app-" + a.name + "-7d2k9" }

func wildcardOf(hostname string) string {
	_, parent, _ := strings.Cut(hostname, ".")
	return "*." + parent
}

// parseCertificate judges what is imported as the documentation says: "The
// certificate must not be expired, the private key must match the certificate, and
// the hostname must appear in the certificate's Subject Alternative Names (SAN) or
// Common Name (CN)."
func parseCertificate(hostname, fullchain, key string) (*certificate, error) {
	if err := onlyCertificates(fullchain); err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair([]byte(fullchain), []byte(key))
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "tls: "))
	}
	now := time.Now()
	switch {
	case now.After(pair.Leaf.NotAfter):
		return nil, errors.New("certificate has expired")
	case now.Before(pair.Leaf.NotBefore):
		return nil, errors.New("certificate is not valid yet")
	case !covers(pair.Leaf, hostname):
		return nil, fmt.Errorf("certificate is not valid for hostname %s", hostname)
	}
	return &certificate{fullchain: fullchain, key: key, pair: pair, created: now.UTC().Truncate(time.Second)}, nil
}

func onlyCertificates(fullchain string) error {
	for rest := []byte(fullchain); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return errors.New("fullchain holds a PEM block that is not a certificate")
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return errors.New("fullchain holds a certificate that does not parse")
		}
	}
	return nil
}

func covers(leaf *x509.Certificate, hostname string) bool {
	if strings.HasPrefix(hostname, "*.") {
		return slices.Contains(leaf.DNSNames, hostname) || leaf.Subject.CommonName == hostname
	}
	return leaf.VerifyHostname(hostname) == nil || leaf.Subject.CommonName == hostname
}
