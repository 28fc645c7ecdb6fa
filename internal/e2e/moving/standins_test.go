package moving

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/world"
)

// others stands in for cert-manager in the cluster old, for External Secrets in the
// cluster new and for the garbage collector there: what they do to Secrets, by their
// sources (cert-manager pkg/controller/certificates/issuing, external-secrets
// pkg/controllers/externalsecret).
type others struct {
	w *world.World

	mu      sync.Mutex
	current certs.Pair      // what cert-manager issued last
	ordered int             // by cert-manager
	served  map[string]bool // by namespace of new: a Secret was there
}

const definitions = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: certificates.cert-manager.io}
spec:
  group: cert-manager.io
  names: {kind: Certificate, plural: certificates, singular: certificate}
  scope: Namespaced
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: externalsecrets.external-secrets.io}
spec:
  group: external-secrets.io
  names: {kind: ExternalSecret, plural: externalsecrets, singular: externalsecret}
  scope: Namespaced
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
`

const certificate = `
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: example, namespace: web}
spec:
  secretName: example-tls
  dnsNames: [example.com, "*.example.com"]
  issuerRef: {name: letsencrypt, kind: ClusterIssuer}
`

const externalSecret = `
apiVersion: external-secrets.io/v1
kind: ExternalSecret
metadata: {name: example-tls, namespace: NAMESPACE}
spec:
  refreshInterval: 1h
  secretStoreRef: {name: vault, kind: ClusterSecretStore}
  target: {name: example-tls, creationPolicy: Owner, deletionPolicy: Retain, template: {type: kubernetes.io/tls}}
  dataFrom: [{extract: {key: tls/example}}]
`

// startOthers lets them work until the test ends.
func startOthers(w *world.World) *others {
	w.T.Helper()
	o := &others{w: w, served: map[string]bool{}}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for tick := time.NewTicker(100 * time.Millisecond); ctx.Err() == nil; {
			select {
			case <-ctx.Done():
			case <-tick.C:
				err := errors.Join(o.certManager(ctx), o.externalSecrets(ctx, "web"), o.externalSecrets(ctx, "api"))
				if err != nil && ctx.Err() == nil {
					w.T.Errorf("the stand-ins for the tools of others: %v", err)
				}
			}
		}
	}()
	w.T.Cleanup(func() { stop(); <-ended })
	return o
}

// renew has cert-manager issue a certificate that began so long ago.
func (o *others) renew(age time.Duration) {
	o.w.T.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.w.Must(o.issue(o.w.T.Context(), age))
}

func (o *others) issue(ctx context.Context, age time.Duration) error {
	pair, err := o.w.Strangers.Issue(ageing(age, certs.RSA2048)) // its default kind of key
	if err != nil {
		return err
	}
	o.current = pair
	o.ordered++
	return apply(ctx, o.w, "old", pair)
}

// state is what cert-manager issued last, and how often it did.
func (o *others) state() (certs.Pair, int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.current, o.ordered
}

// certManager issues anew when the Secret is not what it issued, as long as there is a
// Certificate.
func (o *others) certManager(ctx context.Context) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	owner, err := o.object(ctx, "old", "/apis/cert-manager.io/v1/namespaces/web/certificates/example")
	if owner == nil {
		return err
	}
	found, err := o.w.Clusters["old"].Client().CoreV1().Secrets("web").Get(ctx, "example-tls", metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	if string(found.Data["tls.crt"]) == string(o.current.ChainPEM) && string(found.Data["tls.key"]) == string(o.current.KeyPEM) {
		return nil
	}
	return o.issue(ctx, time.Hour)
}

// externalSecrets makes the Secret what was pushed to Vault, as long as there is an
// ExternalSecret. The garbage collector deletes the Secret when its owner is gone.
func (o *others) externalSecrets(ctx context.Context, namespace string) error {
	owner, err := o.object(ctx, "new", "/apis/external-secrets.io/v1/namespaces/"+namespace+"/externalsecrets/example-tls")
	if err != nil {
		return err
	}
	secrets := o.w.Clusters["new"].Client().CoreV1().Secrets(namespace)
	const manager = "externalsecrets.external-secrets.io/example-tls"
	found, err := secrets.Get(ctx, "example-tls", metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err) && o.served[namespace]:
		return fmt.Errorf("for a moment there was no Secret %s/example-tls", namespace)
	case apierrors.IsNotFound(err) && owner == nil:
		return nil
	case apierrors.IsNotFound(err):
		empty := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "example-tls"}, Type: corev1.SecretTypeTLS}
		_, err = secrets.Create(ctx, o.filled(empty, owner), metav1.CreateOptions{FieldManager: manager})
		return err
	case err != nil:
		return err
	}
	o.served[namespace] = true
	switch {
	case owner == nil && len(found.OwnerReferences) > 0:
		return secrets.Delete(ctx, "example-tls", metav1.DeleteOptions{})
	case owner == nil:
		return nil
	}
	if wanted := o.filled(found, owner); !same(found, wanted) {
		_, err = secrets.Update(ctx, wanted, metav1.UpdateOptions{FieldManager: manager})
		if apierrors.IsConflict(err) { // it looks again
			return nil
		}
	}
	return err
}

// filled is a Secret as External Secrets would have it.
func (o *others) filled(found *corev1.Secret, owner *custom) *corev1.Secret {
	wanted := found.DeepCopy()
	pair, _ := o.state()
	wanted.Data = map[string][]byte{"tls.crt": pair.ChainPEM, "tls.key": pair.KeyPEM}
	labels := map[string]string{"reconcile.external-secrets.io/managed": "true"}
	maps.Copy(labels, found.Labels)
	delete(labels, "reconcile.external-secrets.io/created-by")
	wanted.OwnerReferences = nil
	if owner.Spec.Target.CreationPolicy == "Owner" {
		yes := true
		labels["reconcile.external-secrets.io/created-by"] = "2f6a7d1c0b"
		wanted.OwnerReferences = []metav1.OwnerReference{{APIVersion: "external-secrets.io/v1", Kind: "ExternalSecret",
			Name: "example-tls", UID: owner.UID, Controller: &yes, BlockOwnerDeletion: &yes}}
	}
	wanted.Labels = labels
	return wanted
}

func same(a, b *corev1.Secret) bool {
	return maps.Equal(a.Labels, b.Labels) && len(a.OwnerReferences) == len(b.OwnerReferences) &&
		string(a.Data["tls.crt"]) == string(b.Data["tls.crt"]) && string(a.Data["tls.key"]) == string(b.Data["tls.key"])
}

// custom is what is read of an object of theirs.
type custom struct {
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		Target struct{ CreationPolicy string }
	}
}

// object reads one, nil if it is not there.
func (o *others) object(ctx context.Context, cluster, path string) (*custom, error) {
	raw, err := o.w.Clusters[cluster].Client().CoreV1().RESTClient().Get().AbsPath(path).DoRaw(ctx)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	found := new(custom)
	return found, json.Unmarshal(raw, found)
}
