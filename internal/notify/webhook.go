package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/anycert/anycert"
)

// webhook posts events, signed as the Standard Webhooks specification has it
// (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md):
// HMAC-SHA256 over id, time and body.
type webhook struct {
	to     *endpoint
	hub    string
	secret anycert.Credential // nil: nothing is signed
}

// send sends one event. The time of the signature is that of the attempt.
func (w *webhook) send(ctx context.Context, e Event, now time.Time) error {
	body, err := e.body(w.hub)
	if err != nil {
		return err
	}
	timestamp := strconv.FormatInt(now.Unix(), 10)
	signature := ""
	if w.secret != nil {
		secret, err := w.secret.Secret(ctx)
		if err != nil {
			return fmt.Errorf("reading its secret: %w", err)
		}
		key, err := signingKey(secret)
		if err != nil {
			return err
		}
		signature = sign(key, e.ID, timestamp, body)
	}
	err = w.to.post(ctx, body, func(h http.Header) {
		h.Set("webhook-id", e.ID)
		h.Set("webhook-timestamp", timestamp)
		if signature != "" {
			h.Set("webhook-signature", signature)
		}
	})
	if refused := (refusal{}); w.secret != nil && errors.As(err, &refused) && (refused.status == http.StatusUnauthorized || refused.status == http.StatusForbidden) {
		w.secret.Refused()
	}
	return err
}

// shortest is how many bytes a key has at least: the specification's 24.
const shortest = 24

// signingKey is the key that a secret stands for.
func signingKey(secret anycert.Secret) ([]byte, error) {
	encoded, prefixed := strings.CutPrefix(secret.Reveal(), "whsec_")
	key := []byte(encoded)
	if prefixed {
		var err error
		if key, err = base64.StdEncoding.DecodeString(encoded); err != nil {
			return nil, errors.New("its secret begins with whsec_, and what follows is not base64")
		}
	}
	if len(key) < shortest {
		return nil, fmt.Errorf("its secret is too short: %d bytes are the least (openssl rand -base64 32)", shortest)
	}
	return key, nil
}

func sign(key []byte, id, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", id, timestamp, body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
