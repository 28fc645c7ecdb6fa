package kubernetes

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"github.com/anycert/anycert"
)

// cluster is the API of one cluster, as far as the sink needs it. Its methods ask
// once, never repeat a request, and return errors that show no body.
type cluster struct {
	server string // host, port and path: see identify
	api    *rest.RESTClient
}

// pageSize is how many Secrets the server sends in one answer to a listing.
const pageSize = 250

// quiet keeps client-go from logging a request made with ctx. At the level 8 it
// logs bodies, which hold keys.
func quiet(ctx context.Context) context.Context { return klog.NewContext(ctx, logr.Discard()) }

// get reads one Secret. It is nil when the API server says that there is none; a
// 404 of anybody else is an error.
func (c *cluster) get(ctx context.Context, at address) (*corev1.Secret, error) {
	result := c.api.Get().Namespace(at.namespace).Resource("secrets").Name(at.name).MaxRetries(0).Do(quiet(ctx))
	if err := result.Error(); err != nil {
		if absent(err, "secrets", at.name) {
			return nil, nil
		}
		return nil, c.explain(ctx, request{"get", at}, err)
	}
	raw, _ := result.Raw()
	var secret corev1.Secret
	if err := json.Unmarshal(raw, &secret); err != nil || secret.Name != at.name || secret.Namespace != at.namespace {
		return nil, fmt.Errorf("reading Secret %s: %w: %s answered with something that is not this Secret: check the server's address", at, anycert.ErrUnavailable, c.server)
	}
	return &secret, nil
}

// apply writes with server-side apply, taking the fields from whoever has them.
func (c *cluster) apply(ctx context.Context, manager string, secret *corev1.Secret) error {
	at := address{secret.Namespace, secret.Name}
	body, err := json.Marshal(secret)
	if err != nil {
		return fmt.Errorf("writing Secret %s: it cannot be encoded", at)
	}
	err = c.api.Patch(types.ApplyYAMLPatchType).Namespace(at.namespace).Resource("secrets").Name(at.name).
		Param("fieldManager", manager).Param("force", "true").
		Body(body).MaxRetries(0).Do(quiet(ctx)).Error()
	if err != nil {
		return c.explain(ctx, request{"patch", at}, err)
	}
	return nil
}

// delete deletes the Secret that was looked at, and no other.
func (c *cluster) delete(ctx context.Context, secret *corev1.Secret) error {
	at := address{secret.Namespace, secret.Name}
	body, err := json.Marshal(metav1.DeleteOptions{
		TypeMeta:      metav1.TypeMeta{APIVersion: "v1", Kind: "DeleteOptions"},
		Preconditions: &metav1.Preconditions{UID: &secret.UID, ResourceVersion: &secret.ResourceVersion},
	})
	if err != nil {
		return fmt.Errorf("deleting Secret %s: %w", at, err)
	}
	err = c.api.Delete().Namespace(at.namespace).Resource("secrets").Name(at.name).
		SetHeader("Content-Type", "application/json").Body(body).MaxRetries(0).Do(quiet(ctx)).Error()
	if err != nil && !absent(err, "secrets", at.name) {
		return c.explain(ctx, request{"delete", at}, err)
	}
	return nil
}

// list calls yield with each Secret of a namespace that carries our label. No more
// than one is held at a time, however large they are.
func (c *cluster) list(ctx context.Context, namespace string, yield func(*corev1.Secret)) error {
	return listAs(ctx, c, namespace, "labelSelector", labelManager+"="+us, yield)
}

// listAs is list for another selector, and for as much of each Secret as T has.
func listAs[T any](ctx context.Context, c *cluster, namespace, selector, value string, yield func(*T)) error {
	listed := 0
	count := func(secret *T) {
		listed++
		yield(secret)
	}
	for next := ""; ; {
		stream, err := c.api.Get().Namespace(namespace).Resource("secrets").
			Param(selector, value).
			Param("limit", strconv.Itoa(pageSize)).Param("continue", next).
			MaxRetries(0).Stream(quiet(ctx))
		if err == nil {
			next, err = readList(stream, maxListed-listed, count)
			_, _ = io.CopyN(io.Discard, stream, 1<<10) // its last line end: the connection is used again
			_ = stream.Close()
		}
		if err != nil {
			return c.explain(ctx, request{"list", address{namespace: namespace}}, err)
		}
		if next == "" {
			return nil
		}
	}
}

// readList reads a SecretList item by item and returns its continue token. What is
// cut short, of another kind or has more than most items is an error: it must not
// pass for the list. So must a page with a next one and no items, which need not end.
func readList[T any](from io.Reader, most int, yield func(*T)) (next string, err error) {
	metered := &meter{from: from, most: maxObject, left: maxObject}
	in := json.NewDecoder(metered)
	items := 0
	one := func(secret *T) error {
		if items++; items > most {
			return fmt.Errorf("the namespace has more than %d Secrets of the kind that is listed", maxListed)
		}
		metered.reset()
		yield(secret)
		return nil
	}
	if err := expect(in, json.Delim('{')); err != nil {
		return "", err
	}
	var kind string
	var meta metav1.ListMeta
	for in.More() {
		field, err := in.Token()
		if err != nil {
			return "", err
		}
		switch field {
		case "kind":
			err = in.Decode(&kind)
		case "metadata":
			err = in.Decode(&meta)
		case "items":
			err = readItems(in, one)
		default:
			err = in.Decode(new(json.RawMessage))
		}
		if err != nil {
			return "", err
		}
	}
	if kind != "SecretList" || items == 0 && meta.Continue != "" {
		return "", errNotAList
	}
	return meta.Continue, expect(in, json.Delim('}'))
}

func readItems[T any](in *json.Decoder, yield func(*T) error) error {
	switch token, err := in.Token(); {
	case err != nil:
		return err
	case token == nil: // null: no items
		return nil
	case token != json.Delim('['):
		return fmt.Errorf("items: %w", errNotAList)
	}
	for in.More() {
		var secret T
		if err := in.Decode(&secret); err != nil {
			return err
		}
		if err := yield(&secret); err != nil {
			return err
		}
	}
	return expect(in, json.Delim(']'))
}

func expect(in *json.Decoder, want json.Delim) error {
	token, err := in.Token()
	if err == nil && token != want {
		err = errNotAList
	}
	return err
}
