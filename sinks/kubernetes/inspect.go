package kubernetes

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/anycert/anycert"
)

// The fields of a Secret of type kubernetes.io/tls. ca.crt is none of ours: by
// convention it is a trust anchor for clients, not the chain of the server.
const (
	certificateKey = corev1.TLSCertKey
	privateKey     = corev1.TLSPrivateKeyKey
)

// Kinds of deviations.
const (
	kindLabel      = "label"
	kindAnnotation = "annotation"
	kindEncoding   = "encoding" // text beside the PEM blocks, or a key that is not PKCS#8
)

// inspect tells everything of a Secret but its key.
func (s *Sink) inspect(secret *corev1.Secret) anycert.Observed {
	all := writes(secret.ManagedFields)
	observed := anycert.Observed{
		Found:    true,
		Evidence: anycert.Exact,
		Mark:     s.readMark(secret.Annotations),
		Writer:   s.writer(all),
	}
	encoding := readPair(&observed, secret.Data)
	if observed.Foreign = s.foreign(secret, all); observed.Foreign == "" {
		observed.Deviations = slices.Concat(encoding, s.deviations(secret, observed, s.held(all)))
	}
	return observed
}

// forTarget adds what depends on the target alone.
func forTarget(observed anycert.Observed, target anycert.Target) anycert.Observed {
	if observed.Foreign == "" && observed.Mark != nil && observed.Mark.Certificate != target.Certificate {
		deviation := anycert.Deviation{Kind: kindAnnotation, Detail: differs(annotationCertificate, observed.Mark.Certificate, target.Certificate)}
		observed.Deviations = append(slices.Clone(observed.Deviations), deviation)
	}
	return observed
}

// readPair fills in what certificate and key show. What does not parse is left
// zero, so that it equals no certificate.
func readPair(observed *anycert.Observed, data map[string][]byte) (encoding []anycert.Deviation) {
	if chain, err := anycert.ParseChain(data[certificateKey]); err == nil {
		leaf := chain[0]
		observed.Digest = anycert.DigestOf(chain)
		observed.Serial = leaf.SerialNumber.String()
		observed.NotBefore, observed.NotAfter = leaf.NotBefore.UTC(), leaf.NotAfter.UTC()
		observed.Names = slices.Clone(leaf.DNSNames)
		if !bytes.Equal(encodeChain(chain), data[certificateKey]) {
			encoding = append(encoding, anycert.Deviation{Kind: kindEncoding, Detail: certificateKey + " holds more than its certificates, or in another form"})
		}
	}
	if key, err := anycert.ParseKey(data[privateKey]); err == nil {
		observed.SPKI, _ = anycert.SPKIOfKey(data[privateKey])
		if text, err := anycert.MarshalKey(key); err == nil && text.Reveal() != string(data[privateKey]) {
			encoding = append(encoding, anycert.Deviation{Kind: kindEncoding, Detail: privateKey + " holds more than its key, or in another form than PKCS#8"})
		}
	}
	return encoding
}

// deviations lists what a push would mend beside certificate and key. ours are the
// fields that our pushes set.
func (s *Sink) deviations(secret *corev1.Secret, observed anycert.Observed, ours fieldSet) []anycert.Deviation {
	var found []anycert.Deviation
	add := func(kind, detail string) { found = append(found, anycert.Deviation{Kind: kind, Detail: detail}) }

	wanted := s.label()
	for _, key := range slices.Sorted(maps.Keys(wanted)) {
		if is, ok := secret.Labels[key]; !ok || is != wanted[key] {
			add(kindLabel, differs(key, is, wanted[key]))
		}
	}
	for _, key := range ours.below("metadata", "labels") {
		if _, ok := wanted[key]; !ok {
			add(kindLabel, key+" is no longer wanted")
		}
	}

	switch mark := observed.Mark; {
	case mark == nil:
		add(kindAnnotation, "the mark ("+prefix+"/…) is missing, or cannot be read")
	case mark.Digest != observed.Digest && !observed.Digest.IsZero():
		add(kindAnnotation, annotationDigest+" speaks of another certificate than the one that is there")
	}
	for _, key := range slices.Sorted(maps.Keys(s.config.Annotations)) {
		if is, ok := secret.Annotations[key]; !ok || is != s.config.Annotations[key] {
			add(kindAnnotation, differs(key, is, s.config.Annotations[key]))
		}
	}
	for _, key := range ours.below("metadata", "annotations") {
		if _, ok := s.config.Annotations[key]; !ok && !reserved(key) {
			add(kindAnnotation, key+" is no longer wanted")
		}
	}
	return found
}

// differs is a Deviation's detail. What others wrote is cut short.
func differs(key, is, should string) string {
	if is == "" {
		return fmt.Sprintf("%s is missing, should be %q", key, shorten(should))
	}
	return fmt.Sprintf("%s is %q, should be %q", key, shorten(is), shorten(should))
}

// encodeChain is how a push writes a chain.
func encodeChain(chain []*x509.Certificate) []byte {
	var out bytes.Buffer
	for _, certificate := range chain {
		_ = pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw}) // a Buffer takes everything
	}
	return out.Bytes()
}

func shorten(text string) string {
	const most = 60
	if len(text) > most {
		return text[:most] + "…"
	}
	return text
}
