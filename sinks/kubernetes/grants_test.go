package kubernetes

import (
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/anycert/anycert"
)

func grantee(role anycert.Role, subjects ...string) anycert.Grantee {
	return anycert.Grantee{Role: role, Owner: "hub", Sink: "prod", Subjects: subjects,
		Certificates: []anycert.Certificate{{Name: "example"}, {Name: "api"}}}
}

// documents parses each document strictly into the type that its kind names.
func documents(t *testing.T, text anycert.Grants) (all []any) {
	t.Helper()
	for _, document := range strings.Split(string(text), "---\n")[1:] { // before the first are comments
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal([]byte(document), &kind); err != nil {
			t.Fatalf("%v\n%s", err, document)
		}
		into := map[string]any{"Role": &rbacv1.Role{}, "RoleBinding": &rbacv1.RoleBinding{},
			"ValidatingAdmissionPolicy": &admissionv1.ValidatingAdmissionPolicy{}, "ValidatingAdmissionPolicyBinding": &admissionv1.ValidatingAdmissionPolicyBinding{}}[kind.Kind]
		if err := yaml.UnmarshalStrict([]byte(document), into); err != nil {
			t.Fatalf("%v\n%s", err, document)
		}
		all = append(all, into)
	}
	return all
}

// lines tells of Roles and RoleBindings, a line a rule or subject.
func lines(t *testing.T, text anycert.Grants) (lines []string) {
	t.Helper()
	if text == "" {
		return nil
	}
	for _, document := range documents(t, text) {
		switch d := document.(type) {
		case *rbacv1.Role:
			for _, rule := range d.Rules {
				lines = append(lines, d.Namespace+"/"+d.Name+": "+strings.Join(rule.Verbs, ",")+" "+strings.Join(rule.Resources, ",")+" "+strings.Join(rule.ResourceNames, ","))
			}
		case *rbacv1.RoleBinding:
			for _, s := range d.Subjects {
				lines = append(lines, d.Namespace+"/"+d.RoleRef.Name+" for "+s.Kind+" "+s.Namespace+" "+s.Name)
			}
		}
	}
	return lines
}

func TestGrants(t *testing.T) {
	config := Config{Context: "prod", Namespaces: []string{"web", "123"}}
	listing := config
	listing.List = true
	retired := grantee(anycert.Hub)
	retired.Retired = []string{"old"}
	tests := map[string]struct {
		config Config
		to     anycert.Grantee
		want   []string
	}{
		"hub": {config, grantee(anycert.Hub), []string{
			"123/anycert.hub.prod: get,patch secrets example-tls,api-tls",
			"123/anycert.hub.prod: create secrets ",
			"123/anycert.hub.prod for ServiceAccount anycert anycert",
			"web/anycert.hub.prod: get,patch secrets example-tls,api-tls",
			"web/anycert.hub.prod: create secrets ",
			"web/anycert.hub.prod for ServiceAccount anycert anycert",
			"123/anycert.hub.prod.events: create,patch events ",
			"123/anycert.hub.prod.events for ServiceAccount anycert anycert",
			"web/anycert.hub.prod.events: create,patch events ",
			"web/anycert.hub.prod.events for ServiceAccount anycert anycert",
		}},
		"follower with another template": {Config{InCluster: true, Namespaces: []string{"web"}, Secret: "tls.{{ .Name }}"}, grantee(anycert.Follower, "user:machine-1", "group:on", "ops/sync"), []string{
			"web/anycert.hub.prod: get,patch secrets tls.example,tls.api",
			"web/anycert.hub.prod: create secrets ",
			"web/anycert.hub.prod for User  machine-1",
			"web/anycert.hub.prod for Group  on",
			"web/anycert.hub.prod for ServiceAccount ops sync",
			"web/anycert.hub.prod.events: create,patch events ",
			"web/anycert.hub.prod.events for User  machine-1",
			"web/anycert.hub.prod.events for Group  on",
			"web/anycert.hub.prod.events for ServiceAccount ops sync",
		}},
		"auditor": {config, grantee(anycert.Auditor), []string{
			"123/anycert.hub.prod.auditor: get secrets example-tls,api-tls",
			"123/anycert.hub.prod.auditor for ServiceAccount anycert anycert-auditor",
			"web/anycert.hub.prod.auditor: get secrets example-tls,api-tls",
			"web/anycert.hub.prod.auditor for ServiceAccount anycert anycert-auditor",
		}},
		"auditor that lists": {Config{Context: "prod", Namespaces: []string{"web"}, List: true}, grantee(anycert.Auditor), []string{
			"web/anycert.hub.prod.auditor: get secrets example-tls,api-tls",
			"web/anycert.hub.prod.auditor: list secrets ",
			"web/anycert.hub.prod.auditor for ServiceAccount anycert anycert-auditor",
		}},
		"hub that prunes": {Config{Context: "prod", Namespaces: []string{"web"}}, retired, []string{
			"web/anycert.hub.prod: get,patch secrets example-tls,api-tls",
			"web/anycert.hub.prod: create secrets ",
			"web/anycert.hub.prod for ServiceAccount anycert anycert",
			"web/anycert.hub.prod.events: create,patch events ",
			"web/anycert.hub.prod.events for ServiceAccount anycert anycert",
			"web/anycert.hub.prod.prune: delete,get secrets old-tls",
			"web/anycert.hub.prod.prune: list secrets ",
			"web/anycert.hub.prod.prune for ServiceAccount anycert anycert",
		}},
		"laptop":  {config, grantee(anycert.Laptop), nil},
		"nothing": {config, anycert.Grantee{Role: anycert.Hub, Owner: "hub", Sink: "prod"}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			text, err := test.config.Grants(test.to)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, lines(t, text)); diff != "" {
				t.Errorf("(-want +got):\n%s\n%s", diff, text)
			}
		})
	}
}

func TestGrantsOfASource(t *testing.T) {
	config := SourceConfig{Context: "old", Secret: "{{ .Name }}/tls"}
	text, err := config.Grants(grantee(anycert.Hub))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"api/anycert.hub.prod.source: get secrets tls",
		"api/anycert.hub.prod.source for ServiceAccount anycert anycert",
		"example/anycert.hub.prod.source: get secrets tls",
		"example/anycert.hub.prod.source for ServiceAccount anycert anycert",
	}
	if diff := cmp.Diff(want, lines(t, text)); diff != "" {
		t.Errorf("(-want +got):\n%s\n%s", diff, text)
	}
	if text, err := config.Grants(grantee(anycert.Auditor)); text != "" || err != nil {
		t.Errorf("an auditor is given %q, %v", text, err)
	}
}

func TestWhoIsNoSubject(t *testing.T) {
	for _, text := range []string{"", "anycert", "user:", "group:", "role:x", "a/b/c", "UPPER/case", "user", "user:a\tb", "group:a\u200db", "user:a\u2028b"} {
		_, err := Config{Context: "prod", Namespaces: []string{"web"}}.Grants(grantee(anycert.Hub, text))
		if err == nil || !strings.Contains(err.Error(), "is no subject") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// What a person chose as a name arrives as it is, in YAML and in CEL.
func TestTextsAreQuoted(t *testing.T) {
	for _, text := range []string{"web", "on", "no", "null", "123", "1e3", "0x1f", "a: b", "it's", `back\slash`, "a'b\\'c", "- x", "#x", "ümlaut", "-", ""} {
		quoted, err := quote(text)
		if err != nil {
			t.Fatal(err)
		}
		var back struct{ X any }
		if err := yaml.Unmarshal([]byte("x: "+quoted), &back); err != nil || back.X != text {
			t.Errorf("%q is written %s and read %v (%v)", text, quoted, back.X, err)
		}
	}
	if got, want := celText("it's a \\ é\n\r\u2028\U000e0001"), `'it\'s a \\ é\u000a\u000d\u2028\U000e0001'`; got != want {
		t.Errorf("in CEL: %s, want %s", got, want)
	}
}

func TestLock(t *testing.T) {
	config := Config{Kubeconfig: "/k", Context: "prod", Namespaces: []string{"web", "api"}}
	text, err := config.Lock(grantee(anycert.Hub, "anycert/anycert", "user:it's me", "group:hubs"), "Vault at secret/anycert/certs/")
	if err != nil {
		t.Fatal(err)
	}
	all := documents(t, text)
	policy, binding := all[0].(*admissionv1.ValidatingAdmissionPolicy), all[1].(*admissionv1.ValidatingAdmissionPolicyBinding)
	if policy.Name != "anycert.hub.prod" || binding.Spec.PolicyName != policy.Name || binding.Spec.ValidationActions[0] != admissionv1.Deny {
		t.Errorf("%s", text)
	}
	var conditions []string
	for _, c := range policy.Spec.MatchConditions {
		conditions = append(conditions, c.Expression)
	}
	want := []string{
		"oldObject.metadata.namespace in ['api', 'web'] && oldObject.metadata.name in ['example-tls', 'api-tls']",
		"oldObject.metadata.?annotations[?'anycert.dev/owner'].orValue('') == 'hub'",
		`!(request.userInfo.username in ['system:serviceaccount:anycert:anycert', 'it\'s me']) && !('hubs' in request.userInfo.groups)`,
	}
	if diff := cmp.Diff(want, conditions); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if text, err := config.Lock(anycert.Grantee{Role: anycert.Hub, Owner: "hub", Sink: "prod"}, "x"); text != "" || err != nil {
		t.Errorf("without certificates: %q, %v", text, err)
	}
}

// No two grants have one name: the second would take the place of the first.
func TestNamesOfGrantsAreTheirOwn(t *testing.T) {
	taken := map[string]string{}
	note := func(text anycert.Grants, err error, whose string) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		for _, document := range documents(t, text) {
			object := document.(metav1.Object)
			name := reflect.TypeOf(document).String() + " " + object.GetNamespace() + "/" + object.GetName()
			if other := taken[name]; other != "" {
				t.Errorf("%s is for %s and for %s", name, other, whose)
			}
			taken[name] = whose
		}
	}
	config := Config{Context: "prod", Namespaces: []string{"web"}}
	source := SourceConfig{Context: "prod", Secret: "web/{{ .Name }}"}
	for _, owner := range []string{"a", "a-b"} {
		for _, sink := range []string{"b-c", "c", "c-auditor", "c-prune", "c-source"} {
			to := anycert.Grantee{Role: anycert.Hub, Owner: owner, Sink: sink, Certificates: []anycert.Certificate{{Name: "example"}}, Retired: []string{"old"}}
			text, err := config.Grants(to)
			note(text, err, owner+"/"+sink+" of a hub")
			text, err = source.Grants(to)
			note(text, err, owner+"/"+sink+" of a source")
			text, err = config.Lock(to, "Vault")
			note(text, err, owner+"/"+sink+" of a lock")
			to.Role = anycert.Auditor
			text, err = config.Grants(to)
			note(text, err, owner+"/"+sink+" of an auditor")
		}
	}
}
