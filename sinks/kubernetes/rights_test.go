package kubernetes_test

import (
	"errors"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/kubeserver"
	"github.com/anycert/anycert/sinks/kubernetes"
	"github.com/anycert/anycert/sinks/sinktest"
)

// targets are the sink's for the certificate of sinktest.
func targets(t testing.TB, sink anycert.Sink) []anycert.Target {
	t.Helper()
	all, err := sink.Targets("example", []string{"example.com"})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func versions(t testing.TB) (one, two sinktest.Pair) {
	t.Helper()
	pairs := sinktest.Issue(t, "example", []string{"example.com"}, 1, 2)
	return pairs[0], pairs[1]
}

// mustPush pushes, and expects that Observe agrees.
func mustPush(t testing.TB, sink anycert.Sink, target anycert.Target, pair sinktest.Pair) {
	t.Helper()
	if err := sink.Push(t.Context(), target, pair.Entry, pair.Bundle); err != nil {
		t.Fatal(err)
	}
	if err := sinktest.Agrees(pair.Entry, observe(t, sink, target)); err != nil {
		t.Fatalf("%s after a push: %v", target.Label, err)
	}
}

func observe(t testing.TB, observer anycert.Observer, target anycert.Target) anycert.Observed {
	t.Helper()
	observed, err := observer.Observe(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	return observed
}

// wants fails unless err is a sentinel and says all of the texts.
func wants(t testing.TB, err, sentinel error, texts ...string) {
	t.Helper()
	if err == nil || sentinel != nil && !errors.Is(err, sentinel) {
		t.Errorf("the error is %v, want %v", err, sentinel)
		return
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("the error %q does not say %q", err, text)
		}
	}
}

func TestTheRightsOfThePageSuffice(t *testing.T) {
	r := cluster(t)
	r.grant([]string{"web", "api"})
	sink := r.open(sinktest.Owner, r.config())
	one, two := versions(t)
	start, err := r.Mark()
	r.must(err)
	for _, target := range targets(t, sink) {
		if observe(t, sink, target).Found {
			t.Errorf("%s is there before it was pushed", target.Label)
		}
		mustPush(t, sink, target, one)
		mustPush(t, sink, target, two)
	}
	if err := sink.Probe(t.Context()); err != nil {
		t.Errorf("Probe: %v", err)
	}
	requests, err := r.Requests(start)
	r.must(err)
	for _, request := range kubeserver.From("anycert/test", requests) {
		if request.User != "system:serviceaccount:anycert:anycert" || request.Status >= 400 && request.Status != 404 {
			t.Errorf("an unexpected request: %+v", request)
		}
	}
	if n := writes(requests); n != 4 {
		t.Errorf("four pushes made %d writes", n)
	}
}

func TestAnUnchangedPassReadsEachSecretOnce(t *testing.T) {
	r := cluster(t)
	r.grant([]string{"web", "api"}, r.rule("secrets", "list"))
	pair, _ := versions(t)
	for list, want := range map[bool]map[string]int{
		false: {"get secrets": 2},
		true:  {"list secrets": 2},
	} {
		config := r.config()
		config.List = list
		sink := r.open(sinktest.Owner, config)
		for _, target := range targets(t, sink) {
			mustPush(t, sink, target, pair)
		}
		start, err := r.Mark()
		r.must(err)
		observer, err := sink.Survey(t.Context())
		r.must(err)
		for _, target := range targets(t, sink) {
			if err := sinktest.Agrees(pair.Entry, observe(t, observer, target)); err != nil {
				t.Error(err)
			}
		}
		requests, err := r.Requests(start)
		r.must(err)
		got := kubeserver.Count(kubeserver.From("anycert", requests))
		if len(got) != 1 || got["get secrets"] != want["get secrets"] || got["list secrets"] != want["list secrets"] {
			t.Errorf("list: %t: a pass made the requests %v, want %v", list, got, want)
		}
	}
}

func TestMissingRightsAreNamed(t *testing.T) {
	r := cluster(t)
	r.grant(nil)
	sink := r.open(sinktest.Owner, r.config())
	web := targets(t, sink)[0]
	pair, _ := versions(t)
	push := func() error { return sink.Push(t.Context(), web, pair.Entry, pair.Bundle) }

	_, err := sink.Observe(t.Context(), web)
	wants(t, err, anycert.ErrForbidden, "web/example-tls", `{apiGroups: [""], resources: [secrets], resourceNames: [example-tls], verbs: [get]}`)
	wants(t, sink.Probe(t.Context()), anycert.ErrForbidden, "namespace web", "namespace api", "get, patch, create")

	r.grant([]string{"web"})
	role, err := r.Client().RbacV1().Roles("web").Get(t.Context(), "anycert", metav1.GetOptions{})
	r.must(err)
	allow := func(rules ...rbacv1.PolicyRule) {
		role.Rules = rules
		role, err = r.Client().RbacV1().Roles("web").Update(t.Context(), role, metav1.UpdateOptions{})
		r.must(err)
		r.await("web", "create", "", len(rules) > 1 && rules[1].Verbs[0] == "create")
		r.await("web", "patch", "example-tls", len(rules[0].Verbs) > 1)
	}
	named, create := role.Rules[0], role.Rules[1]
	getOnly := *named.DeepCopy()
	getOnly.Verbs = []string{"get"}

	allow(getOnly, create)
	wants(t, push(), anycert.ErrForbidden, "pushing certificate \"example\"", "web/example-tls", "resourceNames: [example-tls], verbs: [patch]")
	allow(named)
	wants(t, push(), anycert.ErrForbidden, "web/example-tls", `{apiGroups: [""], resources: [secrets], verbs: [create]}`)
	if err := sink.Probe(t.Context()); err == nil || !strings.Contains(err.Error(), "secrets with create is missing") {
		t.Errorf("Probe without the right to create: %v", err)
	}
	allow(named, create)
	mustPush(t, sink, web, pair)

	_, err = sink.Orphans(t.Context(), nil)
	wants(t, err, anycert.ErrForbidden, "listing the Secrets of namespace web", `{apiGroups: [""], resources: [secrets], verbs: [list]}`)
	mark := anycert.MarkOf(sinktest.Owner, pair.Entry)
	wants(t, sink.Remove(t.Context(), anycert.Orphan{Key: web.Key, Label: web.Label, Mark: mark}),
		anycert.ErrForbidden, "web/example-tls", "resourceNames: [example-tls], verbs: [delete]")

	other := anycert.Target{Key: "x", Label: "web/other-tls", Certificate: "other"}
	_, err = sink.Observe(t.Context(), other)
	wants(t, err, anycert.ErrForbidden, "web/other-tls", "resourceNames: [other-tls]")
}

func TestListWithoutTheRight(t *testing.T) {
	r := cluster(t)
	r.grant([]string{"web", "api"})
	r.allow("api", r.rule("secrets", "list"))
	config := r.config()
	config.List = true
	sink := r.open(sinktest.Owner, config)
	wants(t, sink.Probe(t.Context()), anycert.ErrForbidden, "namespace web", "secrets with list is missing")

	survey, err := sink.Survey(t.Context())
	r.must(err)
	all := targets(t, sink)
	_, err = survey.Observe(t.Context(), all[0])
	wants(t, err, anycert.ErrForbidden, "namespace web", "verbs: [list]")
	if observe(t, survey, all[1]).Found {
		t.Error("api/example-tls is there")
	}
}

func TestAPluginOfTheKubeconfigIsRun(t *testing.T) {
	r := cluster(t)
	r.grant([]string{"web"})
	plugin := r.write("plugin", []byte("#!/bin/sh\ncat <<END\n"+
		`{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "`+r.token+`"}}`+"\nEND\n"))
	r.must(chmod(plugin))
	path := r.write("kubeconfig", []byte(`
apiVersion: v1
kind: Config
current-context: prod
clusters: [{name: a, cluster: {server: "`+r.Host+`", certificate-authority: `+r.write("ca.pem", r.CAPEM)+`}}]
users: [{name: me, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: `+plugin+`, interactiveMode: IfAvailable}}}]
contexts: [{name: prod, context: {cluster: a, user: me}}]
`))
	sink := r.open(sinktest.Owner, kubernetes.Config{Kubeconfig: path, Namespaces: []string{"web"}})
	pair, _ := versions(t)
	mustPush(t, sink, targets(t, sink)[0], pair)
}
