package kubernetes

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Of a Secret of somebody else the key is decoded into nothing: not from its data, and
// not from what `kubectl apply` noted of it.
func TestABystandersKeyIsNotRead(t *testing.T) {
	const key = "-----BEGIN PRIVATE KEY-----\nthe key of somebody else\n-----END PRIVATE KEY-----\n"
	encoded := base64.StdEncoding.EncodeToString([]byte(key))
	item, err := json.Marshal(corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "old-tls", Labels: map[string]string{"app": "shop"}, Annotations: map[string]string{
			"kubectl.kubernetes.io/last-applied-configuration": `{"data":{"tls.crt":"Y2hhaW4=","tls.key":"` + encoded + `"}}`,
			annotationHelm: "shop",
		}},
		Data: map[string][]byte{"tls.crt": []byte("chain"), "tls.key": []byte(key)},
	})
	if err != nil || strings.Count(string(item), encoded) != 2 {
		t.Fatalf("%v: %s", err, item)
	}
	var all []*bystander
	list := `{"kind":"SecretList","metadata":{},"items":[` + string(item) + `]}`
	if _, err := readList(strings.NewReader(list), 1, func(b *bystander) { all = append(all, b) }); err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	b := all[0]
	if string(b.Data.Certificate) != "chain" || b.Metadata.Name != "old-tls" || b.Metadata.Labels["app"] != "shop" || (*Sink)(nil).holder(b.secret(), nil) != "the Helm release shop" {
		t.Errorf("%+v", b)
	}
	for _, text := range []string{fmt.Sprintf("%+v %#v %s", *b, *b, b.Data), fmt.Sprintf("%+v", b.secret())} {
		if strings.Contains(text, encoded) || strings.Contains(text, "somebody else") {
			t.Errorf("it has the key: %s", text)
		}
	}
}

// Every annotation that tells whose a Secret is comes through.
func TestABystandersSigns(t *testing.T) {
	var b bystander
	want := map[string]string{}
	fields := reflect.TypeFor[signs]()
	for i := range fields.NumField() {
		name := fields.Field(i).Tag.Get("json")
		want[name] = "is " + name
	}
	text, _ := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": want}})
	if err := json.Unmarshal(text, &b); err != nil {
		t.Fatal(err)
	}
	if got := b.secret().Annotations; !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	for _, name := range []string{annotationOwner, annotationCertificate, annotationTime, annotationDigest, annotationSchema, annotationCertManager, annotationHelm} {
		if want[name] == "" {
			t.Errorf("%s is not read", name)
		}
	}
}
