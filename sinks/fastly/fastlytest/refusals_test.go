package fastlytest_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/sinks/fastly/fastlytest"
)

const (
	token         = "example-token"
	configuration = "t7CguUGZzb2W9Euo5FoKa"
	other         = "Em77eV0D2qMAduXPtvRdKg"
	mediaType     = "application/vnd.api+json"
)

// account is a stand-in with one certificate that is activated for example.com.
type account struct {
	*fastlytest.Server
	t                                 *testing.T
	ca                                *certs.CA
	pair                              certs.Pair
	keyID, certificateID, activatedID string
}

var authority = sync.OnceValues(certs.NewCA)

func start(t *testing.T) *fastlytest.Server {
	t.Helper()
	server, err := fastlytest.Start(fastlytest.Options{Token: token, Configurations: []string{configuration, other}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return server
}

func newAccount(t *testing.T) *account {
	t.Helper()
	ca, err := authority()
	if err != nil {
		t.Fatal(err)
	}
	a := &account{Server: start(t), t: t, ca: ca}
	a.pair = a.issue(certs.Options{Names: []string{"example.com", "www.example.com"}, Intermediate: true})
	a.keyID = a.made(a.post("private_keys", "", attributes{"key": string(a.pair.KeyPEM)}, nil))
	a.certificateID = a.made(a.post("certificates", "tls_certificate", attributes{"cert_blob": string(a.pair.ChainPEM)}, nil))
	a.activatedID = a.made(a.activate(a.certificateID, configuration, "example.com"))
	return a
}

type attributes map[string]any

// relations are ids by the name of the relationship, "" for null.
type relations map[string]string

func (a *account) issue(o certs.Options) certs.Pair {
	a.t.Helper()
	pair, err := a.ca.Issue(o)
	if err != nil {
		a.t.Fatal(err)
	}
	return pair
}

func (a *account) upload(o certs.Options) (id string) {
	pair := a.issue(o)
	a.made(a.post("private_keys", "", attributes{"key": string(pair.KeyPEM)}, nil))
	return a.made(a.post("certificates", "tls_certificate", attributes{"cert_blob": string(pair.ChainPEM)}, nil))
}

func (a *account) activate(certificate, configuration, domain string) reply {
	return a.post("activations", "tls_activation", nil, relations{
		"tls_certificate": certificate, "tls_configuration": configuration, "tls_domain": domain,
	})
}

func (a *account) post(path, kind string, with attributes, related relations) reply {
	return a.write(http.MethodPost, path, kind, "", with, related)
}

func (a *account) patch(path, id, kind string, with attributes, related relations) reply {
	return a.write(http.MethodPatch, path+"/"+id, kind, id, with, related)
}

func (a *account) write(method, path, kind, id string, with attributes, related relations) reply {
	data := map[string]any{"type": kind, "id": id, "attributes": with}
	if related != nil {
		all := map[string]any{}
		for name, id := range related {
			all[name] = map[string]any{"data": nil}
			if id != "" {
				all[name] = map[string]any{"data": map[string]string{"type": name, "id": id}}
			}
		}
		data["relationships"] = all
	}
	body, err := json.Marshal(map[string]any{"data": data})
	if err != nil {
		a.t.Fatal(err)
	}
	return a.do(method, path, token, mediaType, body)
}

func (a *account) get(path string) reply { return a.do(http.MethodGet, path, token, "", nil) }
func (a *account) delete(path string) reply {
	return a.do(http.MethodDelete, path, token, "", nil)
}

// reply is an answer, read to its end.
type reply struct {
	status int
	body   []byte
}

func (a *account) do(method, path, token, contentType string, body []byte) reply {
	a.t.Helper()
	request, err := http.NewRequestWithContext(a.t.Context(), method, a.URL+"/tls/"+path, bytes.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	request.Header.Set("Accept", mediaType)
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	if token != "" {
		request.Header.Set("Fastly-Key", token)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		a.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return reply{response.StatusCode, text}
}

// made returns the id of what a write made.
func (a *account) made(r reply) (id string) {
	a.t.Helper()
	var got struct{ Data struct{ ID string } }
	if err := json.Unmarshal(r.body, &got); err != nil || got.Data.ID == "" {
		a.t.Fatalf("%d %s: want a new object (%v)", r.status, r.body, err)
	}
	return got.Data.ID
}

func (a *account) postKey(keyPEM []byte) reply {
	return a.post("private_keys", "tls_private_key", attributes{"key": string(keyPEM)}, nil)
}

func (a *account) postCertificate(blob []byte) reply {
	return a.post("certificates", "tls_certificate", attributes{"cert_blob": string(blob)}, nil)
}

func (a *account) pkcs8(key crypto.PrivateKey) []byte {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// refused is how each refusal is met, by its name.
var refused = map[string]func(*account) reply{
	"no token":      func(a *account) reply { return a.do(http.MethodGet, "certificates", "", "", nil) },
	"unknown token": func(a *account) reply { return a.do(http.MethodGet, "certificates", "guess", "", nil) },
	"write beyond the hour's limit": func(a *account) reply {
		a.LimitWrites(1, time.Now().Add(time.Minute))
		a.delete("private_keys/unknown")
		return a.delete("private_keys/unknown")
	},
	"body above 256 KiB": func(a *account) reply { return a.postKey(bytes.Repeat([]byte("a"), 256<<10)) },
	"body that is not JSON": func(a *account) reply {
		return a.do(http.MethodPost, "private_keys", token, mediaType, []byte("key=value"))
	},
	"body that is not declared as JSON:API": func(a *account) reply {
		return a.do(http.MethodPost, "private_keys", token, "application/json", []byte("{}"))
	},
	"unknown path":            func(a *account) reply { return a.get("bulk/certificates") },
	"unknown method":          func(a *account) reply { return a.do(http.MethodPut, "certificates", token, mediaType, nil) },
	"page that is no number":  func(a *account) reply { return a.get("certificates?page[number]=two") },
	"page size of no objects": func(a *account) reply { return a.get("activations?page[size]=0") },

	"key of an unknown type of object": func(a *account) reply { return a.post("private_keys", "tls_key", nil, nil) },
	"key with a name of 256 characters": func(a *account) reply {
		pair := a.issue(certs.Options{})
		return a.post("private_keys", "", attributes{"key": string(pair.KeyPEM), "name": strings.Repeat("a", 256)}, nil)
	},
	"no key":        func(a *account) reply { return a.postKey(nil) },
	"key in PKCS#1": func(a *account) reply { return a.postKey(a.key(certs.RSA2048, certs.PKCS1)) },
	"key in SEC 1":  func(a *account) reply { return a.postKey(a.key(certs.EC256, certs.SEC1)) },
	"two keys": func(a *account) reply {
		return a.postKey(append(a.key(certs.EC256, certs.PKCS8), a.key(certs.EC256, certs.PKCS8)...))
	},
	"RSA key of 3072 bits": func(a *account) reply { return a.postKey(a.key(certs.RSA3072, certs.PKCS8)) },
	"EC key on P-521": func(a *account) reply {
		key, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
		if err != nil {
			a.t.Fatal(err)
		}
		return a.postKey(a.pkcs8(key))
	},
	"Ed25519 key": func(a *account) reply {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			a.t.Fatal(err)
		}
		return a.postKey(a.pkcs8(key))
	},
	"key that exists":                       func(a *account) reply { return a.postKey(a.pair.KeyPEM) },
	"unknown key":                           func(a *account) reply { return a.get("private_keys/unknown") },
	"filter of keys in use by another word": func(a *account) reply { return a.get("private_keys?filter[in_use]=no") },
	"deleting an unknown key":               func(a *account) reply { return a.delete("private_keys/unknown") },
	"deleting a key that is matched":        func(a *account) reply { return a.delete("private_keys/" + a.keyID) },

	"certificate of an unknown type of object": func(a *account) reply { return a.post("certificates", "", nil, nil) },
	"certificate with a name of 256 characters": func(a *account) reply {
		return a.post("certificates", "tls_certificate", attributes{"cert_blob": string(a.pair.ChainPEM), "name": strings.Repeat("a", 256)}, nil)
	},
	"no certificate":              func(a *account) reply { return a.postCertificate(nil) },
	"text around the certificate": func(a *account) reply { return a.postCertificate(append(a.pair.ChainPEM, "\nthe end"...)) },
	"private key beside the certificate": func(a *account) reply {
		return a.postCertificate(append(bytes.Clone(a.pair.ChainPEM), a.pair.KeyPEM...))
	},
	"certificate that does not parse": func(a *account) reply {
		return a.postCertificate(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("certificate")}))
	},
	"chain out of order": func(a *account) reply {
		return a.postCertificate(certs.ChainPEM(a.pair.Chain[1], a.pair.Chain[0]))
	},
	"certificate without a DNS name": func(a *account) reply {
		pair := a.issue(certs.Options{Names: []string{"192.0.2.1"}})
		a.made(a.postKey(pair.KeyPEM))
		return a.postCertificate(pair.ChainPEM)
	},
	"certificate whose key is not there":            func(a *account) reply { return a.postCertificate(a.issue(certs.Options{}).ChainPEM) },
	"unknown certificate":                           func(a *account) reply { return a.get("certificates/unknown") },
	"filter of certificates in use by another word": func(a *account) reply { return a.get("certificates?filter[in_use]=no") },
	"replacing an unknown certificate": func(a *account) reply {
		return a.patch("certificates", "unknown", "tls_certificate", nil, nil)
	},
	"replacing under another id": func(a *account) reply {
		return a.write(http.MethodPatch, "certificates/"+a.certificateID, "tls_certificate", "unknown", nil, nil)
	},
	"replacing by a certificate whose key is not there": func(a *account) reply {
		pair := a.issue(certs.Options{Names: a.pair.Leaf().DNSNames})
		return a.patch("certificates", a.certificateID, "tls_certificate", attributes{"cert_blob": string(pair.ChainPEM)}, nil)
	},
	"replacing by a certificate with fewer names": func(a *account) reply {
		pair := a.issue(certs.Options{Names: []string{"example.com"}, Key: a.pair.Key})
		return a.patch("certificates", a.certificateID, "tls_certificate", attributes{"cert_blob": string(pair.ChainPEM)}, nil)
	},
	"deleting an unknown certificate":          func(a *account) reply { return a.delete("certificates/unknown") },
	"deleting a certificate that is activated": func(a *account) reply { return a.delete("certificates/" + a.certificateID) },

	"activation of an unknown type of object": func(a *account) reply { return a.post("activations", "", nil, nil) },
	"activation without a certificate":        func(a *account) reply { return a.activate("", other, "example.com") },
	"activation of an unknown certificate":    func(a *account) reply { return a.activate("unknown", other, "example.com") },
	"activation without a domain":             func(a *account) reply { return a.activate(a.certificateID, other, "") },
	"activation in an unknown configuration":  func(a *account) reply { return a.activate(a.certificateID, "unknown", "example.com") },
	"activation of a domain that is not on the certificate": func(a *account) reply {
		return a.activate(a.certificateID, other, "shop.example.com")
	},
	"second activation of a domain in a configuration": func(a *account) reply {
		return a.activate(a.certificateID, configuration, "example.com")
	},
	"unknown activation": func(a *account) reply { return a.get("activations/unknown") },
	"moving an unknown activation": func(a *account) reply {
		return a.patch("activations", "unknown", "tls_activation", nil, nil)
	},
	"moving an activation under another id": func(a *account) reply {
		return a.write(http.MethodPatch, "activations/"+a.activatedID, "tls_activation", "unknown", nil, nil)
	},
	"moving an activation to no certificate": func(a *account) reply {
		return a.patch("activations", a.activatedID, "tls_activation", nil, relations{"tls_certificate": ""})
	},
	"moving an activation to a certificate without the domain": func(a *account) reply {
		id := a.upload(certs.Options{Names: []string{"example.org"}})
		return a.patch("activations", a.activatedID, "tls_activation", nil, relations{"tls_certificate": id})
	},
	"moving an activation to an unknown mutual authentication": func(a *account) reply {
		return a.patch("activations", a.activatedID, "tls_activation", nil, relations{
			"tls_certificate": a.certificateID, "mutual_authentication": "unknown",
		})
	},
	"deleting an unknown activation": func(a *account) reply { return a.delete("activations/unknown") },

	"unknown configuration":            func(a *account) reply { return a.get("configurations/unknown") },
	"unknown subscription":             func(a *account) reply { return a.get("subscriptions/unknown") },
	"deleting an unknown subscription": func(a *account) reply { return a.delete("subscriptions/unknown") },
	"deleting a subscription that serves": func(a *account) reply {
		id, err := a.AddSubscription(other, []string{"example.com"}, a.pair.ChainPEM)
		if err != nil {
			a.t.Fatal(err)
		}
		return a.delete("subscriptions/" + id)
	},
	"mutual authentication of an unknown type of object": func(a *account) reply {
		return a.post("mutual_authentications", "", nil, nil)
	},
	"mutual authentication without certificates": func(a *account) reply {
		return a.post("mutual_authentications", "mutual_authentication", nil, nil)
	},
	"unknown mutual authentication": func(a *account) reply { return a.get("mutual_authentications/unknown") },
	"changing an unknown mutual authentication": func(a *account) reply {
		return a.patch("mutual_authentications", "unknown", "mutual_authentication", nil, nil)
	},
	"deleting an unknown mutual authentication": func(a *account) reply { return a.delete("mutual_authentications/unknown") },
	"deleting a mutual authentication in use": func(a *account) reply {
		return a.delete("mutual_authentications/" + a.RequireMutualTLS(configuration, "example.com"))
	},
}

func (a *account) key(kind certs.KeyType, format certs.KeyFormat) []byte {
	return a.issue(certs.Options{KeyType: kind, KeyFormat: format}).KeyPEM
}

func TestRefusals(t *testing.T) {
	for _, refusal := range fastlytest.Refusals() {
		t.Run(refusal.Name, func(t *testing.T) {
			meet := refused[refusal.Name]
			if meet == nil {
				t.Fatal("it has no test")
			}
			a := newAccount(t)
			got := meet(a)
			if got.status != refusal.Status {
				t.Errorf("the status is %d, want %d: %s", got.status, refusal.Status, got.body)
			}
			var body struct {
				Errors []struct{ Title, Detail string }
			}
			if err := json.Unmarshal(got.body, &body); err != nil || len(body.Errors) != 1 || body.Errors[0].Title == "" {
				t.Errorf("the body is no error of JSON:API: %s (%v)", got.body, err)
			}
			if active := a.Active(configuration, "example.com"); active != a.certificateID {
				t.Errorf("a refused request changed what is served, to %q", active)
			}
		})
	}
	if got, want := len(refused), len(fastlytest.Refusals()); got != want {
		t.Errorf("%d refusals have a test, %d are listed", got, want)
	}
}

// What is not refused: the other half of a strict stand-in.
func TestAccepts(t *testing.T) {
	a := newAccount(t)
	for _, kind := range []certs.KeyType{certs.EC256, certs.EC384, certs.RSA2048} {
		if got := a.postKey(a.key(kind, certs.PKCS8)); got.status != http.StatusCreated {
			t.Errorf("a key of type %s: %d %s", kind, got.status, got.body)
		}
	}
	if got := a.delete("activations/" + a.activatedID); got.status != http.StatusNoContent {
		t.Errorf("deleting the activation: %d %s", got.status, got.body)
	}
	for _, path := range []string{"certificates/" + a.certificateID, "private_keys/" + a.keyID} {
		if got := a.delete(path); got.status != http.StatusNoContent {
			t.Errorf("deleting %s, which nothing uses any more: %d %s", path, got.status, got.body)
		}
	}
}

// A null takes mutual TLS away, what is not sent leaves it: the trap of
// UpdateTLSActivation in go-fastly.
func TestMutualTLSAndNull(t *testing.T) {
	a := newAccount(t)
	mutual := a.RequireMutualTLS(configuration, "example.com")
	for _, test := range []struct {
		sent relations
		want string
	}{
		{relations{"tls_certificate": a.certificateID}, mutual},
		{relations{"tls_certificate": a.certificateID, "mutual_authentication": mutual}, mutual},
		{relations{"tls_certificate": a.certificateID, "mutual_authentication": ""}, ""},
	} {
		if got := a.patch("activations", a.activatedID, "tls_activation", nil, test.sent); got.status != http.StatusOK {
			t.Fatalf("%v: %d %s", test.sent, got.status, got.body)
		}
		if got := a.MutualTLS(configuration, "example.com"); got != test.want {
			t.Errorf("after %v the mutual authentication is %q, want %q", test.sent, got, test.want)
		}
	}
}

func TestPages(t *testing.T) {
	a := newAccount(t)
	for i := range 24 {
		if _, err := a.AddCertificate(fmt.Sprint(i), a.pair.ChainPEM); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]int{
		"certificates": 20, "certificates?page[number]=2": 5, "certificates?page[number]=3": 0,
		"certificates?page[size]=10&page[number]=3": 5, "certificates?page[size]=1000": 25,
	} {
		var got struct{ Data []any }
		if err := json.Unmarshal(a.get(path).body, &got); err != nil || len(got.Data) != want {
			t.Errorf("%s has %d objects (%v), want %d", path, len(got.Data), err, want)
		}
	}
}
