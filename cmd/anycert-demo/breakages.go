package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/anycert/anycert/internal/testenv/certs"
)

// breakage is something careless that somebody does to one target.
type breakage struct {
	what string
	do   func(context.Context) error
}

func (w *world) breakages() []breakage {
	list := []breakage{
		{"Fastly: the certificate of api.example.com is replaced by a self-signed one that lives until 2099", w.replaceAtFastly},
		{"Fastly: the activation of example.com is moved to another certificate", w.moveActivation},
		{"Fly.io: the certificate of *.example.com is deleted", func(context.Context) error {
			w.fly.DeleteCustom(app, "*.example.com")
			return nil
		}},
		{"Fly.io: the certificate of api.example.com is replaced by a longer-lived one", w.replaceAtFly},
		{"files: the key of example is made readable for everybody", func(context.Context) error {
			return os.Chmod(filepath.Join(w.files, "example", "privkey.pem"), 0o644)
		}},
		{"files: the certificate of api is emptied", func(context.Context) error {
			return os.Truncate(filepath.Join(w.files, "api", "fullchain.pem"), 0)
		}},
	}
	if w.kube != nil {
		list = append(list,
			breakage{"Kubernetes: the Secret web/example-tls is deleted", func(ctx context.Context) error {
				return w.kube.Client().CoreV1().Secrets("web").Delete(ctx, "example-tls", metav1.DeleteOptions{})
			}},
			breakage{"Kubernetes: the data of the Secret api/api-tls is emptied", func(ctx context.Context) error {
				_, err := w.kube.Client().CoreV1().Secrets("api").Patch(ctx, "api-tls", types.MergePatchType,
					[]byte(`{"data":{"tls.crt":"","tls.key":""}}`), metav1.PatchOptions{FieldManager: "kubectl-edit"})
				return err
			}})
	}
	return list
}

// forever issues a certificate that looks better than ours by every date.
func (w *world) forever(selfSigned bool, names ...string) (certs.Pair, error) {
	return w.mischief.Issue(certs.Options{Names: names, SelfSigned: selfSigned, NotAfter: time.Date(2099, 12, 31, 0, 0, 0, 0, time.UTC)})
}

func (w *world) replaceAtFastly(context.Context) error {
	pair, err := w.forever(true, "api.example.com")
	if err != nil {
		return err
	}
	id := w.fastly.Active(configuration, "api.example.com")
	if id == "" {
		return errors.New("api.example.com is not active there")
	}
	return w.fastly.ReplaceCertificate(id, pair.ChainPEM)
}

func (w *world) moveActivation(context.Context) error {
	pair, err := w.forever(false, "example.com")
	if err != nil {
		return err
	}
	if _, err := w.fastly.AddKey("somebody else's key", pair.KeyPEM); err != nil {
		return err
	}
	id, err := w.fastly.AddCertificate("somebody else's certificate", pair.ChainPEM)
	if err != nil {
		return err
	}
	w.fastly.Activate(configuration, "example.com", id)
	return nil
}

func (w *world) replaceAtFly(context.Context) error {
	pair, err := w.forever(false, "api.example.com")
	if err != nil {
		return err
	}
	if err := w.fly.ReplaceCustom(apiApp, "api.example.com", pair.ChainPEM, pair.KeyPEM); err != nil {
		return fmt.Errorf("importing: %s", strings.TrimSpace(err.Error()))
	}
	return nil
}
