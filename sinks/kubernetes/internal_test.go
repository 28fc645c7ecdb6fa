package kubernetes

import (
	"encoding/base64"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestSaidShowsNoKey(t *testing.T) {
	key := "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgevZzL1gdAFr88hb2\n-----END PRIVATE KEY-----\n"
	doing := request{"patch", address{"a-namespace-with-a-name-that-is-rather-long", "example-tls"}}
	c := &cluster{server: "0123456789ABCDEF0123456789ABCDEF.gr7.eu-west-1.eks.example.com"}
	for name, message := range map[string]string{
		"PEM":            "cannot take " + key,
		"quoted PEM":     fmt.Sprintf("cannot take %q", key),
		"a line of it":   "cannot take MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg",
		"base64":         base64.StdEncoding.EncodeToString([]byte(key)),
		"base64, URL":    base64.RawURLEncoding.EncodeToString([]byte("\xfb\xef\xbe" + key)),
		"hex":            fmt.Sprintf("cannot take %x", key),
		"hex in pairs":   fmt.Sprintf("cannot take % x", key),
		"hex, colons":    "30:81:87:02:01:00:30:13:06:07:2A",
		"Go bytes":       fmt.Sprintf("cannot take %v", []byte(key)),
		"a JWT":          "token eyJhbGciOiJSUzI1NiIsImtpZCI6.eyJhdWQiOlsiaHR0cHM is not valid",
		"Authorization":  "header Bearer abc",
		"something long": strings.Repeat("no ", 200),
		"nothing":        "",
	} {
		if said := c.said(doing, message); said != "" {
			t.Errorf("%s: %q is shown", name, said)
		}
	}
	for _, message := range []string{
		`secrets "example-tls" is forbidden: User "system:serviceaccount:anycert:anycert" cannot get resource "secrets" in API group "" in the namespace "a-namespace-with-a-name-that-is-rather-long"`,
		`exceeded quota: secrets, requested: secrets=1, used: secrets=10, limited: secrets=10`,
		`admission webhook "validate.kyverno.svc-fail" denied the request: require-labels: label team is required`,
		`dial tcp 127.0.0.1:6443: connect: connection refused`,
		`lookup 0123456789ABCDEF0123456789ABCDEF.gr7.eu-west-1.eks.example.com on 10.0.0.10:53: no such host`,
		`tls: failed to verify certificate: x509: certificate signed by unknown authority`,
	} {
		if said := c.said(doing, message); said != ": "+message {
			t.Errorf("%q is not shown", message)
		}
	}
}

func TestReadList(t *testing.T) {
	tests := map[string]struct {
		text, next string
		names      []string
		wrong      bool
	}{
		"a page":            {text: `{"kind":"SecretList","apiVersion":"v1","metadata":{"resourceVersion":"7","continue":"more"},"items":[{"metadata":{"name":"a"}},{"metadata":{"name":"b"}}]}`, next: "more", names: []string{"a", "b"}},
		"metadata behind":   {text: `{"kind":"SecretList","items":[{"metadata":{"name":"a"}}],"metadata":{"continue":"more"}}`, next: "more", names: []string{"a"}},
		"no items":          {text: `{"kind":"SecretList","metadata":{},"items":null}`},
		"another kind":      {text: `{"kind":"Secret","metadata":{}}`, wrong: true},
		"no kind":           {text: `{"metadata":{}}`, wrong: true},
		"cut in an item":    {text: `{"kind":"SecretList","items":[{"metadata":{"name":"a"}},{"meta`, names: []string{"a"}, wrong: true},
		"cut behind it":     {text: `{"kind":"SecretList","items":[{"metadata":{"name":"a"}}`, names: []string{"a"}, wrong: true},
		"cut at the end":    {text: `{"kind":"SecretList","items":[{"metadata":{"name":"a"}}]`, names: []string{"a"}, wrong: true},
		"items of a kind":   {text: `{"kind":"SecretList","items":{"a":1}}`, wrong: true},
		"not a list":        {text: `["a"]`, wrong: true},
		"a page in HTML":    {text: `<html>`, wrong: true},
		"nothing":           {text: ``, wrong: true},
		"more than allowed": {text: `{"kind":"SecretList","items":[{"metadata":{"name":"a"}},{"metadata":{"name":"b"}},{"metadata":{"name":"c"}}]}`, names: []string{"a", "b"}, wrong: true},
		"no end in sight":   {text: `{"kind":"SecretList","metadata":{"continue":"more"},"items":[]}`, wrong: true},
		"one without end":   {text: `{"kind":"SecretList","items":[{"metadata":{"name":"` + strings.Repeat("a", maxObject) + `"}}]}`, wrong: true},
		"an item's nature":  {text: `{"kind":"SecretList","items":["a"]}`, wrong: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var names []string
			next, err := readList(strings.NewReader(test.text), 2, func(s *corev1.Secret) { names = append(names, s.Name) })
			if (err != nil) != test.wrong {
				t.Errorf("readList: %v", err)
			}
			if fmt.Sprint(names) != fmt.Sprint(test.names) || err == nil && next != test.next {
				t.Errorf("readList read %q and %q, want %q and %q", names, next, test.names, test.next)
			}
		})
	}
}

// cert-manager took 1.15 GB for 300 Secrets of 1 MB.
func TestReadListHoldsOneSecretAtATime(t *testing.T) {
	const secrets, size, most = 100, 1 << 20, 16 << 20
	item := `{"metadata":{"name":"a"},"data":{"blob":"` + base64.StdEncoding.EncodeToString(make([]byte, size)) + `"}}`
	parts := []io.Reader{strings.NewReader(`{"kind":"SecretList","items":[`)}
	for i := range secrets {
		if i > 0 {
			parts = append(parts, strings.NewReader(","))
		}
		parts = append(parts, strings.NewReader(item))
	}
	parts = append(parts, strings.NewReader(`]}`))

	before := live()
	seen := 0
	_, err := readList(io.MultiReader(parts...), secrets, func(s *corev1.Secret) {
		if seen++; seen%20 == 0 {
			if grown := live() - before; grown > most {
				t.Errorf("after %d Secrets of %d bytes %d bytes are held, want %d at most", seen, size, grown, most)
			}
		}
	})
	if err != nil || seen != secrets {
		t.Errorf("readList saw %d Secrets, %v", seen, err)
	}
}

func live() int64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}
