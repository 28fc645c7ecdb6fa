package fastly

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/fastly/go-fastly/v9/fastly"

	"github.com/anycert/anycert"
)

// account is what was seen of an account at one moment.
type account struct {
	certificates  []*certificate
	activations   []*activation
	subscriptions []*subscription
	keys          map[keyID]bool
}

// certificate is a custom certificate.
type certificate struct {
	id, name, serial, issuer string
	notBefore, notAfter      time.Time
	names                    []string // sorted
	label                    *label   // nil: not ours, nor another hub's
}

// activation is what serves a place.
type activation struct {
	id, certificate string
	place           place
}

// subscription is a certificate that Fastly keeps by itself.
type subscription struct {
	id, configuration, state string
	domains, certificates    []string
}

// account lists everything once, each listing to its end.
func (s *session) account() (*account, error) {
	a := &account{keys: map[keyID]bool{}}
	keys, err := s.keys("")
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		a.keys[keyID(key.PublicKeySHA1)] = true
	}
	if a.certificates, err = s.certificates(); err != nil {
		return nil, err
	}
	if a.activations, err = s.activations(); err != nil {
		return nil, err
	}
	a.subscriptions, err = s.subscriptions()
	return a, err
}

// keys lists the private keys; inUse "false" those without a certificate.
func (s *session) keys(inUse string) ([]*fastly.PrivateKey, error) {
	keys, err := pages(func(number int) ([]*fastly.PrivateKey, error) {
		return s.client.ListPrivateKeys(&fastly.ListPrivateKeysInput{FilterInUse: inUse, PageNumber: number, PageSize: pageSize})
	})
	if err != nil {
		return nil, s.failed("listing the private keys", err)
	}
	return keys, nil
}

func (s *session) certificates() ([]*certificate, error) {
	listed, err := pages(func(number int) ([]*fastly.CustomTLSCertificate, error) {
		return s.client.ListCustomTLSCertificates(&fastly.ListCustomTLSCertificatesInput{PageNumber: number, PageSize: pageSize})
	})
	if err != nil {
		return nil, s.failed("listing the certificates", err)
	}
	var all []*certificate
	for _, c := range listed {
		all = append(all, certificateOf(c))
	}
	return all, nil
}

func certificateOf(from *fastly.CustomTLSCertificate) *certificate {
	c := &certificate{id: from.ID, name: from.Name, serial: from.SerialNumber, issuer: clean(from.Issuer)}
	if from.NotBefore != nil {
		c.notBefore = from.NotBefore.UTC()
	}
	if from.NotAfter != nil {
		c.notAfter = from.NotAfter.UTC()
	}
	for _, domain := range from.Domains {
		c.names = append(c.names, strings.ToLower(domain.ID))
	}
	slices.Sort(c.names)
	c.label, _ = parseLabel(from.Name)
	return c
}

func (s *session) activations() ([]*activation, error) {
	listed, err := pages(func(number int) ([]*fastly.TLSActivation, error) {
		return s.client.ListTLSActivations(&fastly.ListTLSActivationsInput{PageNumber: number, PageSize: pageSize})
	})
	if err != nil {
		return nil, s.failed("listing the activations", err)
	}
	var all []*activation
	for _, a := range listed {
		if a.Configuration == nil || a.Domain == nil {
			return nil, s.failed("listing the activations", fmt.Errorf("%w: one has no TLS configuration or domain", anycert.ErrMalformed))
		}
		all = append(all, activationOf(a))
	}
	return all, nil
}

func activationOf(from *fastly.TLSActivation) *activation {
	a := &activation{id: from.ID}
	if from.Configuration != nil && from.Domain != nil {
		a.place = place{from.Configuration.ID, strings.ToLower(from.Domain.ID)}
	}
	if from.Certificate != nil {
		a.certificate = from.Certificate.ID
	}
	return a
}

func (s *session) subscriptions() ([]*subscription, error) {
	listed, err := pages(func(number int) ([]*fastly.TLSSubscription, error) {
		return s.client.ListTLSSubscriptions(&fastly.ListTLSSubscriptionsInput{PageNumber: number, PageSize: pageSize})
	})
	if err != nil {
		return nil, s.failed("listing the TLS subscriptions", err)
	}
	var all []*subscription
	for _, from := range listed {
		p := &subscription{id: from.ID, state: clean(from.State)}
		if from.Configuration != nil {
			p.configuration = from.Configuration.ID
		}
		for _, domain := range from.Domains {
			p.domains = append(p.domains, strings.ToLower(domain.ID))
		}
		for _, c := range from.Certificates {
			p.certificates = append(p.certificates, c.ID)
		}
		all = append(all, p)
	}
	return all, nil
}

func (s *session) checkConfiguration(id string) error {
	doing := "reading the TLS configuration " + id
	_, err := s.client.GetCustomTLSConfiguration(&fastly.GetCustomTLSConfigurationInput{ID: id})
	if isStatus(err, http.StatusNotFound) {
		return fmt.Errorf("%s: there is none: check the ids under `configurations`", doing)
	}
	if err != nil {
		return s.failed(doing, err)
	}
	return nil
}

// certificate finds one by its id, or returns nil.
func (a *account) certificate(id string) *certificate {
	i := slices.IndexFunc(a.certificates, func(c *certificate) bool { return c.id == id })
	if i < 0 {
		return nil
	}
	return a.certificates[i]
}

// activation finds what serves a place, or returns nil.
func (a *account) activation(p place) *activation {
	i := slices.IndexFunc(a.activations, func(a *activation) bool { return a.place == p })
	if i < 0 {
		return nil
	}
	return a.activations[i]
}

// activationsOf are the places that a certificate serves.
func (a *account) activationsOf(id string) []*activation {
	var all []*activation
	for _, activation := range a.activations {
		if activation.certificate == id {
			all = append(all, activation)
		}
	}
	return all
}

// owned are the objects of one declared certificate, the youngest first. There is
// more than one only while names shrink.
func (a *account) owned(owner, name string) []*certificate {
	var all []*certificate
	for _, c := range a.certificates {
		if c.ownedBy(owner) && c.label.mark.Certificate == name {
			all = append(all, c)
		}
	}
	slices.SortStableFunc(all, func(x, y *certificate) int {
		return cmp.Or(y.label.mark.Time.Compare(x.label.mark.Time), strings.Compare(x.id, y.id))
	})
	return all
}

func (c *certificate) ownedBy(owner string) bool {
	return c != nil && c.label != nil && c.label.mark.Owner == owner
}

// String is the certificate as a person finds it in the console.
func (c *certificate) String() string {
	if c == nil {
		return "that the token does not see"
	}
	if c.label != nil {
		return fmt.Sprintf("%s (of %s/%s)", c.id, c.label.mark.Owner, c.label.mark.Certificate)
	}
	return fmt.Sprintf("%s (%q)", c.id, clean(c.name))
}

// inTheWay is the subscription that keeps a place, or nil. Its TLS configuration is
// the one it began with: where it serves now only the activation tells.
func (a *account) inTheWay(p place) *subscription {
	held := a.activation(p)
	for _, candidate := range a.subscriptions {
		if !slices.Contains(candidate.domains, p.domain) {
			continue
		}
		switch {
		case held == nil && (candidate.configuration == "" || candidate.configuration == p.configuration):
			return candidate
		case held != nil && (slices.Contains(candidate.certificates, held.certificate) || a.certificate(held.certificate) == nil):
			return candidate
		}
	}
	return nil
}
