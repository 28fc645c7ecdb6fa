package redact_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/anycert/anycert/issuer/internal/redact"
)

func TestTextWithholdsEverySpelling(t *testing.T) {
	const secret = "s3cr\"t/+ with\nall=of it"
	r := redact.New(secret)
	spellings := map[string]string{
		"plain":     secret,
		"quoted":    fmt.Sprintf("%q", secret),
		"url":       "https://example.com/?key=" + url.QueryEscape(secret),
		"path":      "https://example.com/" + url.PathEscape(secret),
		"hex":       hex.EncodeToString([]byte(secret)),
		"HEX":       strings.ToUpper(hex.EncodeToString([]byte(secret))),
		"base64":    base64.StdEncoding.EncodeToString([]byte(secret)),
		"base64+1":  base64.StdEncoding.EncodeToString([]byte("x" + secret + "y")),
		"base64+2":  base64.StdEncoding.EncodeToString([]byte("xy" + secret + "z")),
		"basicauth": base64.StdEncoding.EncodeToString([]byte("user:" + secret)),
		"base64url": base64.URLEncoding.EncodeToString([]byte("abc:" + secret)),
	}
	for name, text := range spellings {
		t.Run(name, func(t *testing.T) {
			if got := r.Text("the server said: " + text); strings.Contains(got, "server said") {
				t.Errorf("shown: %s", got)
			}
		})
	}
	if got := r.Text("nothing to hide"); got != "nothing to hide" {
		t.Errorf("a harmless text became %q", got)
	}
}

func TestTextIsBoundedAndClean(t *testing.T) {
	got := redact.New().Text("bad\x1b[31m\r\nnews\x00 " + strings.Repeat("é", 1000))
	if !strings.HasPrefix(got, "bad[31m news é") {
		t.Errorf("got %.40q", got)
	}
	if len(got) > 700 {
		t.Errorf("%d bytes are left", len(got))
	}
}

func TestErrorKeepsTheEndOfAContextAndNoMore(t *testing.T) {
	loud := errors.New("token=hunter22")
	err := redact.New("hunter22").Error(fmt.Errorf("asking: %w: %w", context.DeadlineExceeded, loud))
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, loud) {
		t.Errorf("the chain of %v is wrong", err)
	}
	if strings.Contains(err.Error(), "hunter22") {
		t.Errorf("shown: %v", err)
	}
	if redact.New().Error(nil) != nil {
		t.Error("nil became an error")
	}
}
