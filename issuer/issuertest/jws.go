package issuertest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
)

// jwk is a public key of P-256 (RFC 7517).
type jwk struct{ Crv, Kty, X, Y string }

func (k jwk) key() (*ecdsa.PublicKey, error) {
	x, errX := base64.RawURLEncoding.DecodeString(k.X)
	y, errY := base64.RawURLEncoding.DecodeString(k.Y)
	if err := errors.Join(errX, errY); err != nil || k.Crv != "P-256" {
		return nil, errors.New("the key is not of P-256")
	}
	return ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, pad(x)...), pad(y)...))
}

func pad(b []byte) []byte {
	if len(b) >= 32 {
		return b
	}
	return append(make([]byte, 32-len(b)), b...)
}

// thumbprint is that of RFC 7638.
func (k jwk) thumbprint() string {
	sum := sha256.Sum256(fmt.Appendf(nil, `{"crv":%q,"kty":%q,"x":%q,"y":%q}`, k.Crv, k.Kty, k.X, k.Y))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// message is a signed request (RFC 8555, section 6.2).
type message struct {
	account string // URL; empty when it names its key
	jwk     *jwk
	payload []byte
}

// refusal is an answer with a problem document.
type refusal struct {
	status       int
	kind, detail string
}

func (r refusal) Error() string { return r.kind + ": " + r.detail }

// open verifies a message and uses its nonce up.
func (m *Model) open(r *http.Request) (message, error) {
	text, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	var parts struct{ Protected, Payload, Signature string }
	if err != nil || json.Unmarshal(text, &parts) != nil {
		return message{}, refusal{400, "malformed", "no JWS"}
	}
	header, err := base64.RawURLEncoding.DecodeString(parts.Protected)
	var protected struct {
		Alg, Nonce, URL, Kid string
		Jwk                  *jwk
	}
	if err != nil || json.Unmarshal(header, &protected) != nil {
		return message{}, refusal{400, "malformed", "no protected header"}
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts.Payload)
	if err != nil || protected.URL != Origin+r.URL.Path {
		return message{}, refusal{400, "unauthorized", "the message is for " + protected.URL}
	}
	key, err := m.signer(protected.Kid, protected.Jwk)
	if err != nil {
		return message{}, err
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts.Signature)
	digest := sha256.Sum256([]byte(parts.Protected + "." + parts.Payload))
	if err != nil || len(signature) != 64 || protected.Alg != "ES256" ||
		!ecdsa.Verify(key, digest[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])) {
		return message{}, refusal{400, "malformed", "the signature is wrong"}
	}
	m.signed++
	if good := m.nonces[protected.Nonce]; !good || m.BadNonces > 0 && m.signed%m.BadNonces == 0 {
		delete(m.nonces, protected.Nonce)
		return message{}, refusal{400, "badNonce", "not one of ours"}
	}
	delete(m.nonces, protected.Nonce)
	return message{account: protected.Kid, jwk: protected.Jwk, payload: payload}, nil
}

func (m *Model) signer(account string, own *jwk) (*ecdsa.PublicKey, error) {
	if own != nil {
		key, err := own.key()
		if err != nil {
			return nil, refusal{400, "badPublicKey", err.Error()}
		}
		return key, nil
	}
	key, ok := m.accounts[account]
	if !ok {
		return nil, refusal{400, "accountDoesNotExist", "no account " + account}
	}
	return key, nil
}
