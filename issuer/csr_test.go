package issuer_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/leak"
	"github.com/anycert/anycert/issuer"
	"github.com/anycert/anycert/store/storetest"
)

var bought = anycert.Certificate{Name: "shop", Domains: []string{"shop.example.com", "*.shop.example.com"}, KeyType: anycert.EC384}

func request(t *testing.T, signing issuer.Signing) *x509.CertificateRequest {
	t.Helper()
	parsed, err := x509.ParseCertificateRequest(signing.DER)
	if err == nil {
		err = parsed.CheckSignature()
	}
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func TestSign(t *testing.T) {
	store, now := new(storetest.Memory), time.Now()
	first, made, err := issuer.Sign(t.Context(), store, bought, false, now)
	if err != nil || !made {
		t.Fatalf("made %t, %v", made, err)
	}
	asked := request(t, first)
	if asked.Subject.CommonName != "shop.example.com" || !slices.Equal(asked.DNSNames, bought.Domains) {
		t.Errorf("it asks for %q as %s", asked.DNSNames, asked.Subject)
	}
	if kind, err := anycert.KeyTypeOf(asked.PublicKey); err != nil || kind != anycert.EC384 {
		t.Errorf("the key is of type %s, %v", kind, err)
	}
	again, made, err := issuer.Sign(t.Context(), store, bought, false, now.Add(time.Hour))
	if err != nil || made || !bytes.Equal(again.DER, first.DER) || !again.Since.Equal(first.Since) {
		t.Errorf("once more: made %t, since %v, %v", made, again.Since, err)
	}
	waiting, err := issuer.LoadWaiting(t.Context(), store, "shop")
	if err != nil {
		t.Fatal(err)
	}
	key, err := anycert.ParseKey([]byte(waiting.Key.Reveal()))
	if err != nil || !key.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(asked.PublicKey) {
		t.Errorf("what waits is another key, %v", err)
	}
	if err := waiting.End(t.Context(), store, "shop"); err != nil {
		t.Fatal(err)
	}
	if _, err := issuer.LoadWaiting(t.Context(), store, "shop"); !errors.Is(err, anycert.ErrNotFound) {
		t.Errorf("after its end: %v", err)
	}
}

// A common name has 64 characters at most; the names of a certificate may have more.
func TestSignOfLongNames(t *testing.T) {
	long := strings.Repeat("a", 60) + ".example.com"
	for _, test := range []struct {
		domains []string
		want    string
	}{{[]string{long, "example.com"}, "example.com"}, {[]string{long}, ""}} {
		signing, _, err := issuer.Sign(t.Context(), new(storetest.Memory), anycert.Certificate{Name: "shop", Domains: test.domains}, false, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if asked := request(t, signing); asked.Subject.CommonName != test.want || !slices.Equal(asked.DNSNames, test.domains) {
			t.Errorf("it asks for %q as %q", asked.DNSNames, asked.Subject.CommonName)
		}
	}
}

// People who run it at once get one request.
func TestSignAtOnce(t *testing.T) {
	store := new(storetest.Memory)
	all := make([]issuer.Signing, 8)
	var wait sync.WaitGroup
	for i := range all {
		wait.Go(func() {
			var err error
			if all[i], _, err = issuer.Sign(t.Context(), store, bought, false, time.Now()); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	for i := range all {
		if !bytes.Equal(all[i].DER, all[0].DER) {
			t.Error("two of them got different requests")
		}
	}
	// An older one cannot end what was made after it.
	old, err := issuer.LoadWaiting(t.Context(), store, "shop")
	if err != nil {
		t.Fatal(err)
	}
	next, made, err := issuer.Sign(t.Context(), store, bought, true, time.Now())
	if err != nil || !made || bytes.Equal(next.DER, all[0].DER) {
		t.Fatalf("a new one: made %t, %v", made, err)
	}
	if err := old.End(t.Context(), store, "shop"); !errors.Is(err, anycert.ErrConflict) {
		t.Errorf("the end of the one before: %v", err)
	}
	if _, err := issuer.LoadWaiting(t.Context(), store, "shop"); err != nil {
		t.Errorf("the new one is gone: %v", err)
	}
}

// A journal that is an issuer's, a later anycert's or nobody's is left alone.
func TestSignLeavesOthersAlone(t *testing.T) {
	pair, err := anycert.EC256.Generate()
	if err != nil {
		t.Fatal(err)
	}
	key, err := anycert.MarshalKey(pair)
	if err != nil {
		t.Fatal(err)
	}
	search, err := leak.New(leak.Secret{Name: "the key", PEM: []byte(key.Reveal())})
	if err != nil {
		t.Fatal(err)
	}
	journal := func(fields map[string]any) string {
		fields["key"] = key.Reveal()
		text, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for name, test := range map[string]struct{ text, says string }{
		"an order's":    {journal(map[string]any{"schema": 1, "issuer": "pebble"}), "an order at issuer pebble"},
		"a later one's": {journal(map[string]any{"schema": 99}), "upgrade this one"},
		"unreadable":    {"{" + key.Reveal(), "is not readable"},
		"of no schema":  {journal(map[string]any{}), "is not readable"},
	} {
		t.Run(name, func(t *testing.T) {
			store := new(storetest.Memory)
			if _, err := store.Save(t.Context(), anycert.KindOrder, "shop", 0, anycert.NewSecret(test.text)); err != nil {
				t.Fatal(err)
			}
			_, _, err := issuer.Sign(t.Context(), store, bought, true, time.Now())
			if err == nil || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), "orders/shop") {
				t.Errorf("the error is %v", err)
			}
			for _, finding := range search.Bytes("the error", []byte(err.Error())) {
				t.Error(finding)
			}
			if text, version, err := store.Load(t.Context(), anycert.KindOrder, "shop"); err != nil || version != 1 || text.Reveal() != test.text {
				t.Errorf("it is version %d now, %v", version, err)
			}
			if _, err := issuer.LoadWaiting(t.Context(), store, "shop"); err == nil {
				t.Error("it is taken for a request that waits")
			}
		})
	}
}
