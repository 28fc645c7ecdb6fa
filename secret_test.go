package anycert_test

import (
	"bytes"
	"crypto/elliptic"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/anycert/anycert"
)

const planted = "hunter2-hunter2"

// showings is every way in which a careless program could show a value.
func showings(v any) map[string]string {
	out := make(map[string]string)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%p", "%T", "%08.3f"} {
		out[verb] = fmt.Sprintf(verb, v)
	}
	if text, err := json.Marshal(v); err == nil {
		out["json"] = string(text)
	}
	if text, err := yaml.Marshal(v); err == nil {
		out["yaml"] = string(text)
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", v)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v)
	out["slog"] = log.String()
	return out
}

func TestSecretIsNeverShown(t *testing.T) {
	type inside struct {
		Exported anycert.Secret
		hidden   anycert.Secret
		pointer  *anycert.Secret
	}
	secret := anycert.NewSecret(planted)
	for name, v := range map[string]any{
		"itself":     secret,
		"pointer":    &secret,
		"in struct":  inside{secret, secret, &secret},
		"in pointer": &inside{secret, secret, &secret},
		"in slice":   []anycert.Secret{secret},
		"in map":     map[string]anycert.Secret{"k": secret},
		"as error":   fmt.Errorf("failed with %v and %+v", secret, secret),
	} {
		for how, text := range showings(v) {
			if strings.Contains(text, planted) || strings.Contains(text, fmt.Sprintf("%x", planted)) {
				t.Errorf("%s shows its text by %s: %s", name, how, text)
			}
		}
	}
	if secret.Reveal() != planted || secret.IsZero() || !(anycert.Secret{}).IsZero() {
		t.Error("Reveal and IsZero do not tell the truth")
	}
}

func TestBundleNeverShowsItsKey(t *testing.T) {
	key := ecKey(t, elliptic.P256())
	bundle, err := anycert.ParseBundle(certPEM(issue(t, key, nil, nil)), pkcs8(t, key))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(bundle.KeyPEM().Reveal()), "\n")
	for how, text := range showings(bundle) {
		if strings.Contains(text, lines[1]) {
			t.Errorf("a bundle shows its key by %s", how)
		}
	}
	for how, text := range showings(struct{ B anycert.Bundle }{*bundle}) {
		if strings.Contains(text, lines[1]) {
			t.Errorf("a copy of a bundle shows its key by %s", how)
		}
	}
}
