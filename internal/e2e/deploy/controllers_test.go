//go:build linux

package deploy

import (
	"context"
	"errors"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/anycert/anycert/internal/testenv/kubeserver"
	"github.com/anycert/anycert/internal/testenv/world"
)

// startControllers does in every cluster of the world what kube-controller-manager
// does there, and the rig's clusters have not: it fills the Secrets that ask for a
// token of a service account, and puts the cluster's CA into each namespace.
func startControllers(w *world.World) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for name, cluster := range w.Clusters {
		all.Go(func() {
			for ctx.Err() == nil {
				err := errors.Join(fillTokens(ctx, cluster), publishCA(ctx, cluster))
				if err != nil && ctx.Err() == nil {
					w.T.Errorf("the controllers of the cluster %s: %v", name, err)
					return
				}
				select {
				case <-ctx.Done():
				case <-time.After(100 * time.Millisecond):
				}
			}
		})
	}
	w.T.Cleanup(func() {
		cancel()
		all.Wait()
	})
}

func fillTokens(ctx context.Context, cluster *kubeserver.Server) error {
	core := cluster.Client().CoreV1()
	secrets, err := core.Secrets("").List(ctx, metav1.ListOptions{FieldSelector: "type=" + string(corev1.SecretTypeServiceAccountToken)})
	if err != nil {
		return err
	}
	for _, secret := range secrets.Items {
		if len(secret.Data["token"]) > 0 {
			continue
		}
		token, err := cluster.Token(ctx, secret.Namespace, secret.Annotations[corev1.ServiceAccountNameKey])
		if err != nil {
			return err
		}
		secret.Data = map[string][]byte{"token": []byte(token), "ca.crt": cluster.CAPEM, "namespace": []byte(secret.Namespace)}
		if _, err := core.Secrets(secret.Namespace).Update(ctx, &secret, metav1.UpdateOptions{}); err != nil {
			return err
		}
	}
	return nil
}

func publishCA(ctx context.Context, cluster *kubeserver.Server) error {
	core := cluster.Client().CoreV1()
	namespaces, err := core.Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, namespace := range namespaces.Items {
		ca := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "kube-root-ca.crt"}, Data: map[string]string{"ca.crt": string(cluster.CAPEM)}}
		_, err := core.ConfigMaps(namespace.Name).Create(ctx, ca, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
	return nil
}
