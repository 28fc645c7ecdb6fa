package kubernetes

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/anycert/anycert"
)

// What we leave at a Secret. The label is the one that Kubernetes recommends for
// the tool that manages an object; listing selects by it. The annotations are the
// mark.
const (
	labelManager = "app.kubernetes.io/managed-by"
	us           = "anycert" // the label's value

	prefix                = "anycert.dev"
	annotationOwner       = prefix + "/owner"
	annotationCertificate = prefix + "/certificate"
	annotationTime        = prefix + "/version-time"
	annotationDigest      = prefix + "/digest"
	annotationSchema      = prefix + "/schema" // of the mark; left out: 1
)

// markSchema is the form of the marks that this code writes, and the highest that it
// knows.
const markSchema = 1

// newer tells of a mark that a later anycert left, which is not to be written over.
func newer(annotations map[string]string) string {
	text, set := annotations[annotationSchema]
	if known, err := strconv.Atoi(text); !set || err == nil && known <= markSchema {
		return ""
	}
	return fmt.Sprintf("its mark was left by a later anycert (%s %s, this one knows %d): upgrade this one, or delete the Secret and it is made anew", annotationSchema, shorten(text), markSchema)
}

// reserved reports whether a label or annotation is ours alone to set.
func reserved(key string) bool {
	domain, _, ok := strings.Cut(key, "/")
	return key == labelManager || ok && (domain == prefix || strings.HasSuffix(domain, "."+prefix))
}

// annotate is the mark and the user's annotations.
func (s *Sink) annotate(mark anycert.Mark) map[string]string {
	all := map[string]string{
		annotationOwner:       mark.Owner,
		annotationCertificate: mark.Certificate,
		annotationTime:        mark.Time.UTC().Format(time.RFC3339),
		annotationDigest:      mark.Digest.String(),
	}
	maps.Copy(all, s.config.Annotations)
	return all
}

// label is our label and the user's.
func (s *Sink) label() map[string]string {
	all := map[string]string{labelManager: us}
	maps.Copy(all, s.config.Labels)
	return all
}

// readMark is the mark that we left in annotations, or nil when one of its parts is
// missing, cannot be read, or names another owner.
func (s *Sink) readMark(annotations map[string]string) *anycert.Mark {
	written, timeErr := time.Parse(time.RFC3339, annotations[annotationTime])
	digest, digestErr := anycert.ParseDigest(annotations[annotationDigest])
	mark := &anycert.Mark{
		Owner:       annotations[annotationOwner],
		Certificate: annotations[annotationCertificate],
		Time:        written.UTC(),
		Digest:      digest,
	}
	if timeErr != nil || digestErr != nil || mark.Owner != s.owner || mark.Certificate == "" {
		return nil
	}
	return mark
}
