package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/anycert/anycert"
)

var errNotAList = errors.New("the answer is not a list of Secrets")

// request is what was asked for, in the words of RBAC.
type request struct {
	verb string
	at   address // without a name for a whole namespace
}

func (r request) String() string {
	switch r.verb {
	case "list":
		return "listing the Secrets of namespace " + r.at.namespace
	case "review":
		return "asking what we may do in namespace " + r.at.namespace
	case "tell":
		return "writing an Event about Secret " + r.at.String()
	}
	return map[string]string{"get": "reading", "patch": "writing", "delete": "deleting"}[r.verb] + " Secret " + r.at.String()
}

// explain turns an error of client-go into one that says what was being done, what
// is wrong and what helps, and that shows nothing of a body or a token, even when
// the server sends them back.
func (c *cluster) explain(ctx context.Context, doing request, err error) error {
	var credential *credentialError
	var status apierrors.APIStatus
	switch {
	case errors.As(err, &credential):
		return fmt.Errorf("%s in %s: %w", doing, c.server, credential)
	case ctx.Err() != nil:
		return fmt.Errorf("%s in %s: %w: no answer in time: %w", doing, c.server, anycert.ErrUnavailable, ctx.Err())
	case errors.As(err, &status):
		return fmt.Errorf("%s in %s: %w", doing, c.server, c.explainStatus(ctx, doing, err, status.Status()))
	}
	var inURL *url.Error
	if errors.As(err, &inURL) {
		err = inURL.Err // without the URL, which says less than doing
	}
	return fmt.Errorf("%s in %s: %w%s", doing, c.server, anycert.ErrUnavailable, c.said(doing, err.Error()))
}

func (c *cluster) explainStatus(ctx context.Context, doing request, err error, status metav1.Status) error {
	said := c.said(doing, status.Message)
	switch {
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return fmt.Errorf("namespace %s is being deleted: take it out of namespaces, or create it again when it is gone", doing.at.namespace)
	case absent(err, "namespaces", doing.at.namespace):
		return missing(doing.at.namespace)
	case status.Code == http.StatusUnauthorized:
		return fmt.Errorf("%w: the API server does not accept our credentials: check the token or the kubeconfig's user", anycert.ErrForbidden)
	case status.Code == http.StatusForbidden:
		return c.explainForbidden(ctx, doing, status.Message)
	case status.Code == http.StatusConflict:
		return fmt.Errorf("%w: it is left as it is and looked at again", anycert.ErrConflict)
	case status.Code == http.StatusTooManyRequests, status.Code >= 500, status.Code == http.StatusNotFound, status.Code == http.StatusGone:
		return fmt.Errorf("%w: it answered %d%s", anycert.ErrUnavailable, status.Code, said)
	}
	return fmt.Errorf("it answered %d %s%s", status.Code, http.StatusText(int(status.Code)), said)
}

// denied finds the verb in what RBAC says: `… cannot patch resource "secrets" …`.
var denied = regexp.MustCompile(`\bcannot (get|list|create|patch|delete) resource "secrets"`)

// policied finds which policy refused, in the API server's own words.
var policied = regexp.MustCompile(`ValidatingAdmissionPolicy '([a-z0-9.-]{1,253})'`)

// explainForbidden tells missing rights from a namespace that is gone with its
// Roles, and both from admission, which also answers 403.
func (c *cluster) explainForbidden(ctx context.Context, doing request, message string) error {
	verb := denied.FindStringSubmatch(message)
	if by := policied.FindStringSubmatch(message); verb == nil && by != nil {
		return fmt.Errorf("%w by the ValidatingAdmissionPolicy %s of the cluster: where that is the lock that anycert printed, print and apply it again for the account that anycert comes with (anycert policy --lock --subject NAMESPACE/NAME)",
			anycert.ErrForbidden, by[1])
	}
	if verb == nil {
		return fmt.Errorf("%w by an admission rule, or by an authorizer, of the cluster%s", anycert.ErrForbidden, c.said(doing, message))
	}
	switch phase, err := c.namespace(ctx, doing.at.namespace); {
	case err == nil && phase == "":
		return missing(doing.at.namespace)
	case err == nil && phase == corev1.NamespaceTerminating:
		return fmt.Errorf("namespace %s is being deleted, and our rights with it: take it out of namespaces, or create it again when it is gone", doing.at.namespace)
	}
	rule := fmt.Sprintf(`{apiGroups: [""], resources: [secrets], resourceNames: [%s], verbs: [%s]}`, doing.at.name, verb[1])
	if verb[1] == "create" || verb[1] == "list" { // these cannot be limited by name
		rule = fmt.Sprintf(`{apiGroups: [""], resources: [secrets], verbs: [%s]}`, verb[1])
	}
	return fmt.Errorf("%w to %s secrets: the Role in namespace %s needs the rule %s, or the namespace does not exist%s",
		anycert.ErrForbidden, verb[1], doing.at.namespace, rule, c.said(doing, message))
}

// namespace looks whether a namespace is there: its phase, or "" when it is not.
func (c *cluster) namespace(ctx context.Context, name string) (corev1.NamespacePhase, error) {
	var namespace struct{ Status corev1.NamespaceStatus }
	result := c.api.Get().Resource("namespaces").Name(name).MaxRetries(0).Do(quiet(ctx))
	if err := result.Error(); absent(err, "namespaces", name) {
		return "", nil
	} else if err != nil {
		return "", err
	}
	raw, _ := result.Raw()
	err := json.Unmarshal(raw, &namespace)
	return namespace.Status.Phase, err
}

// missingError says that a namespace is not there: a promise that is broken, and
// nothing that is wrong with the sink.
type missingError struct{ namespace string }

func (e *missingError) Error() string {
	return fmt.Sprintf("namespace %[1]s does not exist: create it (kubectl create namespace %[1]s), or take it out of namespaces", e.namespace)
}

func missing(namespace string) error { return &missingError{namespace} }

// absent reports whether the API server itself said that an object does not exist.
// A proxy's 404, or one for a path that is not an API, does not name the object.
func absent(err error, resource, name string) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || apierrors.IsUnexpectedServerError(err) { // client-go's guess from a bare 404
		return false
	}
	s := status.Status()
	return s.Reason == metav1.StatusReasonNotFound && s.Details != nil && s.Details.Kind == resource && s.Details.Name == name
}

// encoded finds what could be a piece of a key or token: runs of the alphabets of
// base64 and hexadecimal that are no words, and rows of numbers, as Go prints bytes.
var encoded = regexp.MustCompile(`[A-Za-z0-9+/=_]{20,}|[A-Za-z0-9+/=_-]{40,}|(?:\b[0-9A-Fa-f]{1,3}\b[ ,:]*){8,}|(?i)private key|bearer`)

// said is what a server said, to be put at the end of an error, or "" when it could
// hold a piece of what it was sent.
func (c *cluster) said(doing request, message string) string {
	plain := message
	for _, known := range []string{c.server, doing.at.namespace, doing.at.name} {
		if known != "" {
			plain = strings.ReplaceAll(plain, known, "…")
		}
	}
	if message == "" || len(message) > 400 || encoded.MatchString(plain) {
		return ""
	}
	return ": " + strings.Join(strings.Fields(message), " ")
}
