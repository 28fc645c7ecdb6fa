package fastly

import (
	"context"
	"crypto/rsa"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/fastly/go-fastly/v9/fastly"

	"github.com/anycert/anycert"
)

// Push makes a target's activation point at an object that holds bundle. What
// another target's push has uploaded already is used as it is.
//
// The order is that of a change without a gap: the key, the certificate, the
// activations, and only then what is left over. Leftovers that cannot be removed
// are no failure: they carry our mark, and Orphans lists them.
func (s *Sink) Push(ctx context.Context, target anycert.Target, entry anycert.Entry, bundle *anycert.Bundle) error {
	if err := s.push(ctx, target, entry, bundle); err != nil {
		return fmt.Errorf("pushing certificate %s to %s: %w", entry.Name, target.Label, err)
	}
	return nil
}

func (s *Sink) push(ctx context.Context, target anycert.Target, entry anycert.Entry, bundle *anycert.Bundle) error {
	p, err := s.placeOf(target)
	if err != nil {
		return err
	}
	if err := fits(bundle, p.domain); err != nil {
		return err
	}
	session, err := s.api.begin(ctx)
	if err != nil {
		return err
	}
	defer session.end()
	account, err := session.account()
	if err != nil {
		return err
	}
	if foreign := s.look(account, p, entry.Name).foreign; foreign != "" {
		return fmt.Errorf("%w: %s", anycert.ErrRefused, foreign)
	}
	job := &job{session: session, account: account, owner: s.owner, bundle: bundle}
	job.label = s.labelFor(account, entry, bundle)
	return job.run(p)
}

// fits tells why Fastly would not serve bundle for domain, or nil.
func fits(bundle *anycert.Bundle, domain string) error {
	leaf := bundle.Leaf()
	if key, ok := leaf.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() != 2048 {
		return fmt.Errorf("%w for Fastly: its key is RSA with %d bits, and Fastly takes P-256, P-384 and RSA with 2048 bits alone: set key_type to %s, %s or %s",
			anycert.ErrUnfit, key.N.BitLen(), anycert.EC256, anycert.EC384, anycert.RSA2048)
	}
	if len(missing([]string{domain}, leaf.DNSNames)) > 0 {
		return fmt.Errorf("%w for %s: Fastly activates only what stands among its names, and these are %s",
			anycert.ErrUnfit, domain, strings.Join(leaf.DNSNames, ", "))
	}
	return nil
}

// labelFor is what the object of this version is called. It claims every place of
// the certificate that is free or ours, so that one write does for all targets, and
// of other sinks' places on the same account those that were claimed before.
func (s *Sink) labelFor(a *account, entry anycert.Entry, bundle *anycert.Bundle) label {
	l := label{mark: anycert.MarkOf(s.owner, entry), key: keyIDOf(bundle.Leaf())}
	claim := func(p place) {
		if c := claimOf(p); !slices.Contains(l.claims, c) {
			l.claims = append(l.claims, c)
		}
	}
	for _, p := range s.places(bundle.Leaf().DNSNames) {
		if s.look(a, p, entry.Name).foreign == "" {
			claim(p)
		}
	}
	for _, owned := range a.owned(s.owner, entry.Name) {
		for _, held := range a.activations {
			if held.certificate == owned.id || owned.label.claimed(held.place) {
				claim(held.place)
			}
		}
	}
	slices.Sort(l.claims)
	return l
}

// job is one push at work.
type job struct {
	*session
	account *account
	owner   string
	bundle  *anycert.Bundle
	label   label
	changed bool // something was written
}

func (j *job) run(p place) error {
	if err := j.ensureKey(); err != nil {
		return err
	}
	id, err := j.ensureCertificate()
	if err != nil {
		return err
	}
	if err := j.moveAll(id, p); err != nil {
		return err
	}
	if j.account.activation(p) == nil {
		if err := j.activate(id, p); err != nil {
			return err
		}
	}
	if j.changed {
		j.tidy(id)
	}
	return nil
}

// ensureKey uploads the key unless it is there. A certificate is refused while its
// key is not there, and a key that is there is refused as well.
func (j *job) ensureKey() error {
	if j.account.keys[j.label.key] {
		return nil
	}
	j.changed = true
	name := label{mark: j.label.mark}.String()
	_, err := j.client.CreatePrivateKey(&fastly.CreatePrivateKeyInput{Key: j.bundle.KeyPEM().Reveal(), Name: name})
	if err == nil {
		return nil
	}
	failure := j.failed("uploading the private key", err)
	if !isStatus(err, http.StatusBadRequest) {
		return failure
	}
	// Somebody may have uploaded it since it was looked for.
	keys, err := j.keys("")
	if err == nil && slices.ContainsFunc(keys, func(k *fastly.PrivateKey) bool { return keyID(k.PublicKeySHA1) == j.label.key }) {
		return nil
	}
	return failure
}

// ensureCertificate returns the id of an object that holds the bundle under our
// label. An object whose names are all among the new ones is replaced in place:
// its id and its activations stay. With one that has others Fastly would switch
// those off in the middle of the change, so a new one is made beside it.
func (j *job) ensureCertificate() (string, error) {
	leaf, name := j.bundle.Leaf(), j.label.String()
	owned := j.account.owned(j.owner, j.label.mark.Certificate)
	for _, c := range owned {
		if c.name == name && c.serial == leaf.SerialNumber.String() && c.notAfter.Equal(leaf.NotAfter) {
			return c.id, nil
		}
	}
	j.changed = true
	blob := string(j.bundle.FullChainPEM())
	if len(owned) > 0 && len(missing(owned[0].names, leaf.DNSNames)) == 0 {
		_, err := j.client.UpdateCustomTLSCertificate(&fastly.UpdateCustomTLSCertificateInput{ID: owned[0].id, CertBlob: blob, Name: name})
		if err != nil {
			return "", j.failed("replacing certificate "+owned[0].id, err)
		}
		return owned[0].id, nil
	}
	created, err := j.client.CreateCustomTLSCertificate(&fastly.CreateCustomTLSCertificateInput{CertBlob: blob, Name: name})
	if err != nil {
		return "", j.failed("uploading the certificate", err)
	}
	if created.ID == "" {
		return "", j.failed("uploading the certificate", fmt.Errorf("%w: the answer has no id", anycert.ErrMalformed))
	}
	return created.ID, nil
}

// missing are those of names that are not among others.
func missing(names, others []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		return slices.ContainsFunc(others, func(other string) bool { return strings.EqualFold(name, other) })
	})
}

// moveAll points p, and every place that another object of the certificate serves
// and the new one can, at the object id.
func (j *job) moveAll(id string, p place) error {
	var old []string
	for _, c := range j.account.owned(j.owner, j.label.mark.Certificate) {
		old = append(old, c.id)
	}
	for _, held := range j.account.activations {
		wanted := held.place == p || slices.Contains(old, held.certificate)
		if held.certificate == id || !wanted || fits(j.bundle, held.place.domain) != nil {
			continue
		}
		if err := j.move(held, id); err != nil {
			return err
		}
	}
	return nil
}

// move points an activation at the object id. It is read first: what is sent
// without its mutual authentication loses it.
func (j *job) move(held *activation, id string) error {
	doing := "moving the activation of " + held.place.String()
	now, err := j.client.GetTLSActivation(&fastly.GetTLSActivationInput{ID: held.id})
	if err != nil {
		return j.failed(doing, err)
	}
	if current := activationOf(now).certificate; current != held.certificate {
		return fmt.Errorf("%s: %w: it points at certificate %s now", doing, anycert.ErrConflict, clean(current))
	}
	input := &fastly.UpdateTLSActivationInput{ID: held.id, Certificate: &fastly.CustomTLSCertificate{ID: id}}
	if now.MutualAuthentication != nil {
		input.MutualAuthentication = &fastly.TLSMutualAuthentication{ID: now.MutualAuthentication.ID}
	}
	j.changed = true
	if _, err := j.client.UpdateTLSActivation(input); err != nil {
		return j.failed(doing, err)
	}
	held.certificate = id
	return nil
}

func (j *job) activate(id string, p place) error {
	j.changed = true
	_, err := j.client.CreateTLSActivation(&fastly.CreateTLSActivationInput{
		Certificate:   &fastly.CustomTLSCertificate{ID: id},
		Configuration: &fastly.TLSConfiguration{ID: p.configuration},
		Domain:        &fastly.TLSDomain{ID: p.domain},
	})
	if err != nil {
		return j.failed("activating "+p.String(), err)
	}
	j.account.activations = append(j.account.activations, &activation{certificate: id, place: p})
	return nil
}

// tidy removes what older versions of the certificate left: objects that serve
// nothing, and keys of ours that no certificate uses. That Fastly refuses to delete
// a key in use is not relied on: it is recorded to have deleted one.
func (j *job) tidy(id string) {
	older := func(l *label) bool {
		return l != nil && l.mark.Owner == j.owner && l.mark.Certificate == j.label.mark.Certificate &&
			l.mark.Time.Before(j.label.mark.Time)
	}
	for _, c := range j.account.certificates {
		if c.id != id && older(c.label) && len(j.account.activationsOf(c.id)) == 0 {
			_ = j.deleteCertificate(c.id)
		}
	}
	unused, err := j.keys("false")
	if err != nil {
		return
	}
	for _, key := range unused {
		if l, _ := parseLabel(key.Name); older(l) && keyID(key.PublicKeySHA1) != j.label.key {
			_ = j.deleteKey(key.ID)
		}
	}
}

func (s *session) deleteCertificate(id string) error {
	err := s.client.DeleteCustomTLSCertificate(&fastly.DeleteCustomTLSCertificateInput{ID: id})
	return s.deleted("deleting certificate "+id, err)
}

func (s *session) deleteKey(id string) error {
	err := s.client.DeletePrivateKey(&fastly.DeletePrivateKeyInput{ID: id})
	return s.deleted("deleting private key "+id, err)
}

// deleted takes what is gone already for deleted, and a 400 for what it is: in use.
func (s *session) deleted(doing string, err error) error {
	switch {
	case err == nil || isStatus(err, http.StatusNotFound):
		return nil
	case isStatus(err, http.StatusBadRequest):
		return fmt.Errorf("%w: %w", anycert.ErrRefused, s.failed(doing, err))
	}
	return s.failed(doing, err)
}
