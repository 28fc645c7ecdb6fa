package vaultserver

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"time"
)

// JWTIssuer signs tokens that a role of auth/jwt accepts.
type JWTIssuer struct {
	key      *ecdsa.PrivateKey
	audience string
	subject  string
}

// EnableJWT enables auth/jwt, once, and makes a role for one subject and
// audience. A second call takes the trust away from the first one's issuer.
func (s *Server) EnableJWT(ctx context.Context, role, ttl, audience, subject string, policies ...string) (*JWTIssuer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	err = s.enableAuth(ctx, "jwt")
	if err == nil {
		_, err = s.Client().Logical().WriteWithContext(ctx, "auth/jwt/config",
			map[string]any{"jwt_validation_pubkeys": []string{string(public)}})
	}
	if err == nil {
		_, err = s.Client().Logical().WriteWithContext(ctx, "auth/jwt/role/"+role, map[string]any{
			"role_type":       "jwt",
			"bound_audiences": []string{audience},
			"bound_subject":   subject,
			"user_claim":      "sub",
			"token_policies":  policies,
			"token_ttl":       ttl,
		})
	}
	if err != nil {
		return nil, fmt.Errorf("making the JWT role %s: %w", role, err)
	}
	return &JWTIssuer{key: key, audience: audience, subject: subject}, nil
}

// Token signs a token (RFC 7519, ES256) that is good for lifetime.
func (i *JWTIssuer) Token(lifetime time.Duration) (string, error) {
	now := time.Now()
	header, err := json.Marshal(map[string]string{"alg": "ES256", "typ": "JWT"})
	if err != nil {
		return "", err
	}
	claims, err := json.Marshal(map[string]any{
		"iss": "anycert-rig", "sub": i.subject, "aud": i.audience,
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(lifetime).Unix(),
	})
	if err != nil {
		return "", err
	}
	signed := base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString(claims)
	digest := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, i.key, digest[:])
	if err != nil {
		return "", fmt.Errorf("signing a JWT: %w", err)
	}
	signature := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}
