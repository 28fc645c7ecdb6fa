package fastlytest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha1" // the API names keys by it
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"net/http"
	"slices"
	"time"
)

// key is one object under /tls/private_keys.
type key struct {
	id, name, sha1, kind string
	length               int
	created              time.Time
	pem                  string // never shown
}

func (k *key) resource() resource {
	return resource{ID: k.id, Type: "tls_private_key", Attributes: map[string]any{
		"key_length":      k.length,
		"key_type":        k.kind,
		"name":            orNull(k.name),
		"created_at":      timestamp(k.created),
		"replace":         false,
		"public_key_sha1": k.sha1,
	}}
}

func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

func (s *Server) key(id string) *key {
	i := slices.IndexFunc(s.keys, func(k *key) bool { return k.id == id })
	if i < 0 {
		return nil
	}
	return s.keys[i]
}

func (s *Server) keyBySHA1(sum string) *key {
	i := slices.IndexFunc(s.keys, func(k *key) bool { return k.sha1 == sum })
	if i < 0 {
		return nil
	}
	return s.keys[i]
}

// matched tells whether a certificate belongs to the key.
func (s *Server) matched(k *key) bool {
	return slices.ContainsFunc(s.certificates, func(c *certificate) bool { return c.sha1 == k.sha1 })
}

func (s *Server) listKeys(r incoming) answer {
	inUse := r.filters.Get("filter[in_use]")
	if inUse != "" && inUse != "true" && inUse != "false" {
		return refuse(http.StatusBadRequest, "Invalid filter", "filter[in_use] must be true or false")
	}
	var all []resource
	for _, k := range s.keys {
		if inUse == "" || (inUse == "true") == s.matched(k) {
			all = append(all, k.resource())
		}
	}
	a := list(r, all, 20)
	if a.status == http.StatusOK {
		delete(a.body.(map[string]any), "links") // the recorded listing has none
	}
	return a
}

func (s *Server) getKey(r incoming) answer {
	if k := s.key(r.id); k != nil {
		return one(http.StatusOK, k.resource())
	}
	return notFound("private key")
}

func (s *Server) createKey(r incoming) answer {
	const title = "Can't create private key"
	// go-fastly v9 sends the type empty, and the recorded exchanges accept it.
	if kind := r.body.Data.Type; kind != "" && kind != "tls_private_key" {
		return refuse(http.StatusBadRequest, title, "the type must be tls_private_key")
	}
	sent := r.body.Data.Attributes
	k, problem := parseKey(sent.Key)
	switch {
	case len(sent.Name) > maxName:
		return refuse(http.StatusBadRequest, title, "the name is too long")
	case problem != "":
		return refuse(http.StatusBadRequest, title, problem)
	case s.keyBySHA1(k.sha1) != nil:
		return refuse(http.StatusBadRequest, title, "the key already exists")
	}
	k.id, k.name = newID(), sent.Name
	s.keys = append(s.keys, k)
	a := one(http.StatusCreated, k.resource()) // before it has a time: the recorded answer has none
	k.created = now()
	return a
}

func (s *Server) deleteKey(r incoming) answer {
	k := s.key(r.id)
	switch {
	case k == nil:
		return notFound("private key")
	case s.matched(k):
		return refuse(http.StatusBadRequest, "Can't delete private key", "the key is matched to a certificate")
	}
	s.keys = slices.DeleteFunc(s.keys, func(k *key) bool { return k.id == r.id })
	return done()
}

// parseKey reads one PKCS#8 key of a kind that Fastly takes. problem is empty when
// it is one.
func parseKey(text string) (k *key, problem string) {
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "PRIVATE KEY" || len(rest) > 0 {
		return nil, "the key must be one PKCS#8 key in PEM"
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, "the key must be one PKCS#8 key in PEM"
	}
	signer, _ := parsed.(crypto.Signer)
	k = &key{pem: text}
	switch public := public(signer).(type) {
	case *rsa.PublicKey:
		k.kind, k.length = "RSA", public.N.BitLen()
		if k.length != 2048 {
			return nil, "RSA keys must have 2048 bits"
		}
	case *ecdsa.PublicKey:
		k.kind, k.length = "EC", public.Curve.Params().BitSize
		if public.Curve != elliptic.P256() && public.Curve != elliptic.P384() {
			return nil, "EC keys must be on the curve P-256 or P-384"
		}
	default:
		return nil, "the type of the key is not supported"
	}
	k.sha1 = publicKeySHA1(signer.Public())
	return k, ""
}

func public(signer crypto.Signer) crypto.PublicKey {
	if signer == nil {
		return nil
	}
	return signer.Public()
}

// publicKeySHA1 is how the API names a key: SHA-1 over the PEM text of its
// SubjectPublicKeyInfo, the last line end included.
func publicKeySHA1(public crypto.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return ""
	}
	sum := sha1.Sum(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	return hex.EncodeToString(sum[:])
}
