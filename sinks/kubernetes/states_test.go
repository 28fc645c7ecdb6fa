package kubernetes_test

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/sinks/kubernetes"
	"github.com/anycert/anycert/sinks/sinktest"
)

// begin is a cluster with the page's rights in web, and a sink for it.
func begin(t *testing.T, change func(*kubernetes.Config)) (*rig, *kubernetes.Sink, anycert.Target) {
	t.Helper()
	r := cluster(t)
	r.grant([]string{"web"}, r.rule("secrets", "list"))
	config := r.config()
	config.Namespaces = []string{"web"}
	if change != nil {
		change(&config)
	}
	sink := r.open(sinktest.Owner, config)
	return r, sink, targets(t, sink)[0]
}

func adopting(config *kubernetes.Config) { config.Adopt = []string{"web/example-tls"} }

func TestForeignSaysWhoseAndWhatHelps(t *testing.T) {
	yes := true
	adopt := "name web/example-tls under adopt"
	remove := "kubectl -n web delete secret example-tls"
	tests := map[string]struct {
		change func(*corev1.Secret)
		adopt  bool
		want   []string
	}{
		"by hand":      {change: func(*corev1.Secret) {}, want: []string{"last written by kubectl-create", adopt}},
		"another hub":  {change: func(s *corev1.Secret) { s.Annotations = map[string]string{"anycert.dev/owner": "other-hub"} }, want: []string{`the anycert with the owner "other-hub"`, adopt}},
		"cert-manager": {change: func(s *corev1.Secret) { s.Annotations = map[string]string{"cert-manager.io/certificate-name": "web"} }, want: []string{"cert-manager (Certificate web)", adopt}},
		"Helm": {change: func(s *corev1.Secret) {
			s.Labels = map[string]string{"app.kubernetes.io/managed-by": "Helm"}
			s.Annotations = map[string]string{"meta.helm.sh/release-name": "shop"}
		}, want: []string{"the Helm release shop", adopt}},
		"External Secrets": {change: func(s *corev1.Secret) {
			s.Labels = map[string]string{"reconcile.external-secrets.io/managed": "true"}
		}, want: []string{"External Secrets", adopt}},
		"a controller": {change: func(s *corev1.Secret) {
			s.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Tenant", Name: "blue", UID: "1", Controller: &yes}}
		}, want: []string{"Tenant blue", adopt}},
		"some tool":             {change: func(s *corev1.Secret) { s.Labels = map[string]string{"app.kubernetes.io/managed-by": "tool"} }, want: []string{"it belongs to tool", adopt}},
		"adopted but opaque":    {adopt: true, change: func(s *corev1.Secret) { s.Type = corev1.SecretTypeOpaque }, want: []string{"its type is Opaque", remove}},
		"adopted but immutable": {adopt: true, change: func(s *corev1.Secret) { s.Immutable = &yes }, want: []string{"immutable", remove}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r, sink, target := begin(t, func(c *kubernetes.Config) {
				if test.adopt {
					adopting(c)
				}
			})
			pair, theirs := versions(t)
			secret := stranger(target.Label, theirs)
			test.change(secret)
			r.create("kubectl-create", secret)

			survey, err := sink.Survey(t.Context())
			r.must(err)
			for _, observer := range []anycert.Observer{sink, survey} {
				observed := observe(t, observer, target)
				for _, text := range test.want {
					if !strings.Contains(observed.Foreign, text) {
						t.Errorf("Foreign is %q, want that it says %q", observed.Foreign, text)
					}
				}
				if observed.Digest != theirs.Bundle.Digest() || len(observed.Deviations) > 0 {
					t.Errorf("a foreign Secret is observed as %+v", observed)
				}
			}
			wants(t, sink.Push(t.Context(), target, pair.Entry, pair.Bundle), anycert.ErrRefused, append(test.want, target.Label, `"example"`)...)
		})
	}
}

func TestOursButImmutableOrBeingDeleted(t *testing.T) {
	r, sink, target := begin(t, nil)
	one, two := versions(t)
	mustPush(t, sink, target, one)
	r.change("web", "example-tls", "kubectl-edit", func(s *corev1.Secret) {
		yes := true
		s.Immutable, s.Finalizers = &yes, []string{"example.com/slow"}
	})
	wants(t, sink.Push(t.Context(), target, two.Entry, two.Bundle), anycert.ErrRefused, "immutable", "kubectl -n web delete secret example-tls")

	r.must(r.Client().CoreV1().Secrets("web").Delete(t.Context(), "example-tls", metav1.DeleteOptions{}))
	if foreign := observe(t, sink, target).Foreign; !strings.Contains(foreign, "being deleted and waits for its finalizers (example.com/slow)") {
		t.Errorf("Foreign is %q", foreign)
	}
	wants(t, sink.Push(t.Context(), target, two.Entry, two.Bundle), anycert.ErrRefused, "being deleted")

	r.change("web", "example-tls", "kubectl-edit", func(s *corev1.Secret) { s.Finalizers = nil })
	mustPush(t, sink, target, two)
}

func TestAdoptKeepsWhatIsNotOurs(t *testing.T) {
	r, sink, target := begin(t, adopting)
	pair, theirs := versions(t)
	secret := stranger(target.Label, theirs)
	secret.Labels = map[string]string{"app.kubernetes.io/managed-by": "tool", "tier": "front"}
	secret.Annotations = map[string]string{"example.com/note": "keep"}
	secret.Data["ca.crt"] = []byte("theirs")
	r.create("tool", secret)

	observed := observe(t, sink, target)
	if observed.Foreign != "" || len(observed.Deviations) == 0 || observed.Writer != "tool" {
		t.Errorf("what may be adopted is observed as %+v", observed)
	}
	mustPush(t, sink, target, pair)

	got := r.get("web", "example-tls")
	if got.UID == "" || got.Labels["tier"] != "front" || got.Annotations["example.com/note"] != "keep" || string(got.Data["ca.crt"]) != "theirs" {
		t.Errorf("what was theirs is gone: labels %v, annotations %v, ca.crt %q", got.Labels, got.Annotations, got.Data["ca.crt"])
	}
	// Once adopted it is ours, also when adopt no longer names it.
	config := r.config()
	config.Namespaces = []string{"web"}
	if err := sinktest.Agrees(pair.Entry, observe(t, r.open(sinktest.Owner, config), target)); err != nil {
		t.Error(err)
	}
}

func TestAdoptSeesTheSameCertificateUnmarked(t *testing.T) {
	r, sink, target := begin(t, adopting)
	pair, _ := versions(t)
	r.create("kubectl-create", stranger(target.Label, pair))
	if observed := observe(t, sink, target); len(observed.Deviations) == 0 {
		t.Errorf("our certificate without our mark is observed as %+v: nothing would adopt it", observed)
	}
	mustPush(t, sink, target, pair)
}

// The mark of another hub says nothing of our store's going back.
func TestAdoptFromAnotherHub(t *testing.T) {
	r, sink, target := begin(t, adopting)
	one, two := versions(t)
	config := r.config()
	config.Namespaces = []string{"web"}
	mustPush(t, r.open(sinktest.OtherOwner, config), target, two)
	if observed := observe(t, sink, target); observed.Mark != nil || observed.Foreign != "" {
		t.Errorf("what may be adopted from another hub is observed as %+v", observed)
	}
	mustPush(t, sink, target, one)
}

func TestTheWriterThatRevertsIsNamed(t *testing.T) {
	r, sink, target := begin(t, nil)
	one, two := versions(t)
	revert := stranger(target.Label, one)
	revert.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}
	force := true
	// Who applies what we applied has changed nothing.
	mustPush(t, sink, target, one)
	_, err := r.Client().CoreV1().Secrets("web").Patch(t.Context(), "example-tls", types.ApplyYAMLPatchType, encode(t, revert), metav1.PatchOptions{FieldManager: "agrees"})
	r.must(err)
	if writer := observe(t, sink, target).Writer; writer != "" {
		t.Errorf("the writer is %q, who applied what was there", writer)
	}
	ways := map[string]func(){
		"gitops-apply": func() {
			_, err := r.Client().CoreV1().Secrets("web").Patch(t.Context(), "example-tls", types.ApplyYAMLPatchType, encode(t, revert), metav1.PatchOptions{FieldManager: "gitops-apply", Force: &force})
			r.must(err)
		},
		"gitops-update": func() {
			r.change("web", "example-tls", "gitops-update", func(s *corev1.Secret) { s.Data = revert.Data })
		},
	}
	for manager, write := range ways {
		for range 3 {
			mustPush(t, sink, target, two)
			if writer := observe(t, sink, target).Writer; writer != "" {
				t.Errorf("after our push the writer is %q", writer)
			}
			write()
			observed := observe(t, sink, target)
			if observed.Writer != manager || observed.Foreign != "" || observed.Digest != one.Bundle.Digest() {
				t.Errorf("after %s wrote, the Secret is observed as %+v", manager, observed)
			}
		}
	}
}

func TestLabelsAndAnnotationsAreKept(t *testing.T) {
	r, sink, target := begin(t, func(c *kubernetes.Config) {
		c.Labels = map[string]string{"team": "web", "tier": "front"}
		c.Annotations = map[string]string{"example.com/note": "reload"}
	})
	pair, _ := versions(t)
	mustPush(t, sink, target, pair)

	r.change("web", "example-tls", "kubectl-edit", func(s *corev1.Secret) {
		s.Labels["team"] = "api"
		delete(s.Labels, "tier")
		s.Annotations["example.com/note"] = "x"
		s.Labels["theirs"] = "stays"
	})
	want := []anycert.Deviation{
		{Kind: "label", Detail: `team is "api", should be "web"`},
		{Kind: "label", Detail: `tier is missing, should be "front"`},
		{Kind: "annotation", Detail: `example.com/note is "x", should be "reload"`},
	}
	observed := observe(t, sink, target)
	if diff := cmp.Diff(want, observed.Deviations); diff != "" || observed.Writer != "kubectl-edit" {
		t.Errorf("the writer is %q; deviations (-want +got):\n%s", observed.Writer, diff)
	}
	mustPush(t, sink, target, pair)

	// Taken out of the configuration, they are taken from the Secret.
	config := r.config()
	config.Namespaces = []string{"web"}
	config.Labels = map[string]string{"team": "web"}
	sink = r.open(sinktest.Owner, config)
	want = []anycert.Deviation{{Kind: "label", Detail: "tier is no longer wanted"}, {Kind: "annotation", Detail: "example.com/note is no longer wanted"}}
	if diff := cmp.Diff(want, observe(t, sink, target).Deviations); diff != "" {
		t.Errorf("deviations (-want +got):\n%s", diff)
	}
	mustPush(t, sink, target, pair)
	if got := r.get("web", "example-tls").Labels; got["theirs"] != "stays" || got["tier"] != "" || got["team"] != "web" {
		t.Errorf("the labels are %v", got)
	}
}

func TestTheMarkIsKept(t *testing.T) {
	r, sink, target := begin(t, nil)
	one, two := versions(t)
	wrong := map[string]map[string]string{
		"the mark (anycert.dev/…) is missing, or cannot be read":                      {"anycert.dev/digest": "sha256:x"},
		"anycert.dev/digest speaks of another certificate than the one that is there": {"anycert.dev/digest": one.Entry.Digest.String()},
		`anycert.dev/certificate is "other", should be "example"`:                     {"anycert.dev/certificate": "other"},
	}
	for detail, annotations := range wrong {
		mustPush(t, sink, target, two)
		r.change("web", "example-tls", "kubectl-edit", func(s *corev1.Secret) { maps.Copy(s.Annotations, annotations) })
		observed := observe(t, sink, target)
		if diff := cmp.Diff([]anycert.Deviation{{Kind: "annotation", Detail: detail}}, observed.Deviations); diff != "" || observed.Writer != "kubectl-edit" {
			t.Errorf("the writer is %q; deviations (-want +got):\n%s", observed.Writer, diff)
		}
	}
	mustPush(t, sink, target, two)
}

func TestASecondPushWritesNothing(t *testing.T) {
	r, sink, target := begin(t, nil)
	pair, _ := versions(t)
	mustPush(t, sink, target, pair)
	before := r.get("web", "example-tls").ResourceVersion
	mustPush(t, sink, target, pair)
	if after := r.get("web", "example-tls").ResourceVersion; after != before {
		t.Errorf("the second push changed the Secret: its version was %s and is %s", before, after)
	}
	if got := slices.Sorted(maps.Keys(r.get("web", "example-tls").Data)); !slices.Equal(got, []string{"tls.crt", "tls.key"}) {
		t.Errorf("the Secret holds %v", got)
	}
}

// Between the look and the write, something happens to the Secret.
func TestPushLooksAgainWhenTheSecretChanged(t *testing.T) {
	one, two := versions(t)
	tests := map[string]struct {
		ours      bool // our Secret is there at first
		meanwhile func(r *rig, label string)
		want      error
	}{
		"somebody creates it": {meanwhile: func(r *rig, label string) { r.create("kubectl-create", stranger(label, one)) }, want: anycert.ErrRefused},
		"somebody edits it": {ours: true, meanwhile: func(r *rig, _ string) {
			r.change("web", "example-tls", "kubectl-edit", func(s *corev1.Secret) { s.Data["tls.crt"] = []byte("x") })
		}},
		"somebody deletes it": {ours: true, meanwhile: func(r *rig, _ string) {
			r.must(r.Client().CoreV1().Secrets("web").Delete(r.ctx(), "example-tls", metav1.DeleteOptions{}))
		}},
		"somebody replaces it": {ours: true, meanwhile: func(r *rig, label string) {
			r.must(r.Client().CoreV1().Secrets("web").Delete(r.ctx(), "example-tls", metav1.DeleteOptions{}))
			r.create("kubectl-create", stranger(label, one))
		}, want: anycert.ErrRefused},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r, direct, target := begin(t, nil)
			if test.ours {
				mustPush(t, direct, target, one)
			}
			p := newProxy(r)
			config := r.config()
			config.Server, config.CA = p.URL, r.write("proxy.pem", p.ca())
			sink := r.open(sinktest.Owner, config)
			var once atomic.Bool
			p.enter(func(w http.ResponseWriter, request *http.Request) {
				if request.Method == http.MethodPatch && once.CompareAndSwap(false, true) {
					test.meanwhile(r, target.Label)
				}
				p.pass.ServeHTTP(w, request)
			})
			err := sink.Push(t.Context(), target, two.Entry, two.Bundle)
			if test.want == nil {
				r.must(err)
				if err := sinktest.Agrees(two.Entry, observe(t, direct, target)); err != nil {
					t.Error(err)
				}
				return
			}
			wants(t, err, test.want, target.Label)
			if got := string(r.get("web", "example-tls").Data["tls.crt"]); got != string(one.Bundle.FullChainPEM()) {
				t.Error("somebody else's Secret was overwritten")
			}
		})
	}
}

func TestACopyByAToolIsNoOrphanOfOurs(t *testing.T) {
	r, sink, target := begin(t, nil)
	pair, _ := versions(t)
	mustPush(t, sink, target, pair)
	duplicate := r.get("web", "example-tls")
	duplicate.ObjectMeta = metav1.ObjectMeta{Namespace: "web", Name: "copy", Labels: duplicate.Labels, Annotations: duplicate.Annotations}
	r.create("replicator", duplicate)

	orphans, err := sink.Orphans(t.Context(), []anycert.Target{target})
	if err != nil || len(orphans) > 0 {
		t.Errorf("Orphans returned (%+v, %v), want none", orphans, err)
	}
	orphan := anycert.Orphan{Key: strings.Replace(target.Key, "example-tls", "copy", 1), Label: "web/copy", Mark: anycert.MarkOf(sinktest.Owner, pair.Entry)}
	read := r.rules()[0]
	read.ResourceNames = []string{"copy"}
	r.allow("web", read)
	wants(t, sink.Remove(t.Context(), orphan), anycert.ErrRefused, "web/copy")
	orphan.Key = "k8s://elsewhere/web/copy"
	wants(t, sink.Remove(t.Context(), orphan), anycert.ErrRefused, "not of this cluster")
	if r.get("web", "copy") == nil {
		t.Error("the copy is gone")
	}
}
