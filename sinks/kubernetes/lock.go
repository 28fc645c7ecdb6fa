package kubernetes

import (
	"fmt"
	"slices"
	"strings"
	"text/template"
	"unicode"

	"github.com/anycert/anycert"
)

// LabelUnlocked is the label of a namespace in which the lock is open, whatever its
// value: the way for people in need.
const LabelUnlocked = prefix + "/unlocked"

// Lock is a ValidatingAdmissionPolicy and its binding, for Kubernetes 1.30 and later
// (https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/).
// The API server then refuses to change or delete a Secret that is declared here and
// carries our mark, whoever asks, system:masters included. What the old object was
// counts, so that taking the mark away is refused as well. Let through are our own
// accounts; a request that changes nothing, by which secrets are encrypted anew and
// migrated; and what ends a namespace, or a Secret that is being deleted already.
func (c Config) Lock(to anycert.Grantee, truth string) (anycert.Grants, error) {
	subjects, err := parseSubjects(to)
	if err != nil {
		return "", err
	}
	names, err := c.secretNames(to.Certificates)
	if err != nil || len(names) == 0 {
		return "", err
	}
	locking := locking{
		Kubectl:    c.kubectl(),
		Name:       nameOf(to),
		Namespaces: texts(slices.Sorted(slices.Values(c.Namespaces))),
		Secrets:    texts(names),
		Owner:      celText(to.Owner),
		Hub:        to.Owner,
		Truth:      celText(", which is kept in " + truth),
		Unlocked:   LabelUnlocked,
		Mark:       celText(annotationOwner),
		Named:      celText(annotationCertificate),
	}
	for _, s := range subjects {
		if s.Kind == "Group" {
			locking.Groups = append(locking.Groups, celText(s.Name))
			continue
		}
		locking.Users = append(locking.Users, celText(s.User()))
	}
	var out strings.Builder
	err = lock.Execute(&out, locking)
	return anycert.Grants(out.String()), err
}

// celText writes a text in CEL, where it stands in YAML's block style: what YAML takes
// for the end of a line, or does not take at all, is written by its number.
func celText(text string) string {
	var out strings.Builder
	for _, r := range text {
		switch {
		case r == '\'' || r == '\\':
			out.WriteString(`\` + string(r))
		case unicode.IsPrint(r):
			out.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&out, `\U%08x`, r)
		default:
			fmt.Fprintf(&out, `\u%04x`, r)
		}
	}
	return "'" + out.String() + "'"
}

func texts(all []string) (quoted []string) {
	for _, text := range all {
		quoted = append(quoted, celText(text))
	}
	return quoted
}

// locking is what the template writes. But for the first, all texts are in CEL.
type locking struct {
	Kubectl, Name, Hub, Unlocked string
	Namespaces, Secrets          []string
	Users, Groups                []string
	Owner, Truth, Mark, Named    string
}

// Others is the condition that a request is not made by one of our own accounts.
func (l locking) Others() string {
	var conditions []string
	if len(l.Users) > 0 {
		conditions = append(conditions, fmt.Sprintf("!(request.userInfo.username in [%s])", strings.Join(l.Users, ", ")))
	}
	for _, group := range l.Groups {
		conditions = append(conditions, fmt.Sprintf("!(%s in request.userInfo.groups)", group))
	}
	return strings.Join(conditions, " && ")
}

var lock = template.Must(template.New("lock").Funcs(template.FuncMap{"q": quote, "join": strings.Join}).Parse(
	`# {{.Kubectl}} apply -f -
# In need: {{.Kubectl}} label namespace NAMESPACE {{.Unlocked}}=true opens one namespace, {{.Unlocked}}- closes it.
# The next pass undoes what is changed there, unless the certificate or the sink has suspend: true.
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: {{q .Name}}
spec:
  matchConstraints:
    # Where somebody opened it on purpose, it is open.
    namespaceSelector:
      matchExpressions:
        - {key: {{.Unlocked}}, operator: DoesNotExist}
    resourceRules:
      - apiGroups: [""]
        apiVersions: [v1]
        resources: [secrets]
        operations: [UPDATE, DELETE]
  matchConditions:
    # The place is declared: a copy that another tool made elsewhere is that tool's.
    - name: declared
      expression: >-
        oldObject.metadata.namespace in [{{join .Namespaces ", "}}] &&
        oldObject.metadata.name in [{{join .Secrets ", "}}]
    # What lies there was written by this hub: what is somebody else's stays theirs.
    - name: ours
      expression: >-
        oldObject.metadata.?annotations[?{{.Mark}}].orValue('') == {{.Owner}}
    # anycert itself passes.
    - name: another-account
      expression: >-
        {{.Others}}
  validations:
    # Let through: the end of the whole namespace; the end of a Secret that is being deleted,
    # for its finalizers; and what changes nothing, such as encrypting all Secrets anew.
    - expression: >-
        has(namespaceObject.metadata.deletionTimestamp) ||
        has(oldObject.metadata.deletionTimestamp) ||
        (request.operation == 'UPDATE' &&
        object.?data == oldObject.?data && object.?immutable == oldObject.?immutable &&
        object.metadata.?labels == oldObject.metadata.?labels && object.metadata.?annotations == oldObject.metadata.?annotations &&
        object.metadata.?finalizers == oldObject.metadata.?finalizers && object.metadata.?ownerReferences == oldObject.metadata.?ownerReferences)
      reason: Forbidden
      messageExpression: >-
        oldObject.metadata.namespace + '/' + oldObject.metadata.name + ' holds a copy of certificate ' +
        oldObject.metadata.annotations[{{.Named}}] + {{.Truth}} + oldObject.metadata.annotations[{{.Named}}] +
        ': write there, and every place follows. anycert with the owner {{.Hub}} keeps this copy as it is.'
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{q .Name}}
spec:
  policyName: {{q .Name}}
  validationActions: [Deny]
`))
