package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// A CA's records without a fault, and with one of each kind.
func TestOrders(t *testing.T) {
	begin := time.Now().Truncate(time.Second)
	at := func(seconds int) time.Time { return begin.Add(time.Duration(seconds) * time.Second) }
	type made struct {
		seconds int
		issued  bool // at once, and due after 10 s
	}
	tests := map[string]struct {
		orders          []made
		crashes         []int
		beyond, orphans int
	}{
		"nothing":                       {},
		"renewed when due":              {orders: []made{{0, true}, {10, true}, {20, true}}},
		"renewed by a second too early": {orders: []made{{0, true}, {9, true}}},
		"renewed too early":             {orders: []made{{0, true}, {8, true}, {16, true}}, beyond: 2},
		"renewed too early by a crash":  {orders: []made{{0, true}, {2, true}}, crashes: []int{1}, beyond: 1},
		"an order for a crash":          {orders: []made{{0, false}, {2, true}}, crashes: []int{1}},
		"two orders for two crashes":    {orders: []made{{0, false}, {2, false}, {4, true}}, crashes: []int{1, 3}},
		"two orders for one crash":      {orders: []made{{0, false}, {2, false}, {4, true}}, crashes: []int{1}, orphans: 1},
		"an order for a later crash":    {orders: []made{{0, false}, {2, true}}, crashes: []int{3}, orphans: 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var orders []order
			for _, m := range test.orders {
				o := order{Time: at(m.seconds), Names: []string{"example.com"}}
				if m.issued {
					o.leaf, _ = issue(t, at(m.seconds))
					o.Due = at(m.seconds + 10)
				}
				orders = append(orders, o)
			}
			var crashes []time.Time
			for _, seconds := range test.crashes {
				crashes = append(crashes, at(seconds))
			}
			var v Verdict
			v.countOrders(orders, crashes)
			if len(v.Beyond) != test.beyond || len(v.Orphans) != test.orphans {
				t.Errorf("%q and %q, want %d beyond and %d orphans", v.Beyond, v.Orphans, test.beyond, test.orphans)
			}
		})
	}
}

// A Vault whose certificate has the key of its order, and one of each fault.
func TestVault(t *testing.T) {
	leaf, key := issue(t, time.Now())
	other, _ := issue(t, time.Now())
	pair := map[string]string{"tls.crt": certificatePEM(leaf), "tls.key": key}
	journal, err := json.Marshal(map[string]string{"key": key})
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		paths                  map[string]map[string]string // nil: deleted
		lost, mismatched, left int
	}{
		"stored":                      {paths: map[string]map[string]string{"certs/a": pair}},
		"in the journal alone":        {paths: map[string]map[string]string{"orders/a": {"value": string(journal)}}, left: 1},
		"nowhere":                     {lost: 1},
		"an account's key is no help": {paths: map[string]map[string]string{"accounts/a": {"value": string(journal)}}, lost: 1},
		"a journal that was deleted":  {paths: map[string]map[string]string{"certs/a": pair, "orders/a": nil}, left: 1},
		"another certificate":         {paths: map[string]map[string]string{"certs/a": {"tls.crt": certificatePEM(other), "tls.key": key}}, mismatched: 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(vault(test.paths))
			defer server.Close()
			found, err := Case{Vault: server.URL, Mount: "secret", Prefix: "anycert"}.readVault()
			if err != nil {
				t.Fatal(err)
			}
			var v Verdict
			v.countKeys([]order{{leaf: leaf}}, found.keys)
			if len(v.KeysLost) != test.lost || len(found.mismatched) != test.mismatched || len(found.left) != test.left {
				t.Errorf("%q, %q, %q, want %d lost, %d mismatched, %d left", v.KeysLost, found.mismatched, found.left, test.lost, test.mismatched, test.left)
			}
		})
	}
}

// A directory is opened once: what is put in its place meanwhile makes no torn pair,
// what is written into it does.
func TestDirectories(t *testing.T) {
	leaf, key := issue(t, time.Now())
	other, _ := issue(t, time.Now())
	dir := t.TempDir()
	c, v := Case{Directories: []string{dir}, Certificates: map[string][]string{"a": {"example.com"}}}, Verdict{}
	c.lookAtDirectories(&v)
	if v.Looks != 0 || len(v.Mismatched) != 0 {
		t.Errorf("nothing is there: %+v", v)
	}
	write := func(version, name, text string) {
		path := filepath.Join(dir, version, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("1", "fullchain.pem", certificatePEM(leaf))
	write("1", "privkey.pem", key)
	if err := os.Symlink("1", filepath.Join(dir, "a")); err != nil {
		t.Fatal(err)
	}
	if c.lookAtDirectories(&v); v.Looks != 1 || len(v.Mismatched) != 0 {
		t.Errorf("a pair: %+v", v)
	}
	write("1", "fullchain.pem", certificatePEM(other))
	if c.lookAtDirectories(&v); len(v.Mismatched) != 1 {
		t.Errorf("a torn pair: %+v", v)
	}
	if err := os.Remove(filepath.Join(dir, "1", "privkey.pem")); err != nil {
		t.Fatal(err)
	}
	if c.lookAtDirectories(&v); len(v.Mismatched) != 2 {
		t.Errorf("no key: %+v", v)
	}
}

// issue makes a certificate that is valid for 20 s.
func issue(t *testing.T, from time.Time) (leaf *x509.Certificate, keyPEM string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(from.Unix()), DNSNames: []string{"example.com"}, NotBefore: from, NotAfter: from.Add(20 * time.Second)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if leaf, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	text, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return leaf, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text}))
}

func certificatePEM(leaf *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw}))
}

// vault answers as Vault does for paths of one version each.
func vault(paths map[string]map[string]string) http.Handler {
	routes := http.NewServeMux()
	answer := func(path string, data any) {
		routes.HandleFunc("/v1/secret/"+path, func(w http.ResponseWriter, _ *http.Request) {
			_ = json.NewEncoder(w).Encode(map[string]any{"data": data})
		})
	}
	kinds := map[string][]string{}
	for path, fields := range paths {
		kind, name := filepath.Split(path)
		kinds[kind] = append(kinds[kind], name)
		answer("metadata/anycert/"+path, map[string]any{"current_version": 1, "versions": map[string]any{"1": map[string]bool{"destroyed": false}}})
		if fields != nil {
			answer("data/anycert/"+path, map[string]any{"data": fields})
		}
	}
	var top []string
	for kind, names := range kinds {
		slices.Sort(names)
		answer(fmt.Sprintf("metadata/anycert/%s{$}", kind), map[string]any{"keys": names})
		top = append(top, kind)
	}
	if top != nil {
		answer("metadata/anycert/{$}", map[string]any{"keys": top})
	}
	return routes
}
