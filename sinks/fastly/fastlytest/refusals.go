package fastlytest

import "net/http"

// Refusal is one thing that the stand-in refuses. Each has a test of this name.
type Refusal struct {
	Name   string
	Status int
	Ground string // Recorded, Reported, Documented or Assumed
}

// The grounds of a refusal.
const (
	Recorded   = "in a recorded exchange of go-fastly"
	Reported   = "reported by users, with the error's text"
	Documented = "documented by Fastly"
	Assumed    = "assumed: nothing is known, and this is the stricter guess"
)

// Refusals lists everything that the stand-in refuses. In one case it is stricter
// than what was recorded: in 2023 the real API deleted a key whose certificate was
// still there, though not activated (mutual_authentication/delete-key.yaml); the
// documentation says that it does not.
func Refusals() []Refusal {
	return []Refusal{
		{"no token", http.StatusUnauthorized, Documented},
		{"unknown token", http.StatusUnauthorized, Documented},
		{"write beyond the hour's limit", http.StatusTooManyRequests, Documented},
		{"body above 256 KiB", http.StatusRequestEntityTooLarge, Assumed},
		{"body that is not JSON", http.StatusBadRequest, Assumed},
		{"body that is not declared as JSON:API", http.StatusUnsupportedMediaType, Assumed},
		{"unknown path", http.StatusNotFound, Assumed},
		{"unknown method", http.StatusNotFound, Assumed},
		{"page that is no number", http.StatusBadRequest, Assumed},
		{"page size of no objects", http.StatusBadRequest, Assumed},

		{"key of an unknown type of object", http.StatusBadRequest, Assumed},
		{"key with a name of 256 characters", http.StatusBadRequest, Assumed},
		{"no key", http.StatusBadRequest, Assumed},
		{"key in PKCS#1", http.StatusBadRequest, Reported},
		{"key in SEC 1", http.StatusBadRequest, Reported},
		{"two keys", http.StatusBadRequest, Assumed},
		{"RSA key of 3072 bits", http.StatusBadRequest, Documented},
		{"EC key on P-521", http.StatusBadRequest, Documented},
		{"Ed25519 key", http.StatusBadRequest, Documented},
		{"key that exists", http.StatusBadRequest, Reported},
		{"unknown key", http.StatusNotFound, Assumed},
		{"filter of keys in use by another word", http.StatusBadRequest, Assumed},
		{"deleting an unknown key", http.StatusNotFound, Assumed},
		{"deleting a key that is matched", http.StatusBadRequest, Documented},

		{"certificate of an unknown type of object", http.StatusBadRequest, Assumed},
		{"certificate with a name of 256 characters", http.StatusBadRequest, Assumed},
		{"no certificate", http.StatusBadRequest, Assumed},
		{"text around the certificate", http.StatusBadRequest, Assumed},
		{"private key beside the certificate", http.StatusBadRequest, Assumed},
		{"certificate that does not parse", http.StatusBadRequest, Assumed},
		{"chain out of order", http.StatusBadRequest, Assumed},
		{"certificate without a DNS name", http.StatusBadRequest, Reported},
		{"certificate whose key is not there", http.StatusBadRequest, Documented},
		{"unknown certificate", http.StatusNotFound, Assumed},
		{"filter of certificates in use by another word", http.StatusBadRequest, Assumed},
		{"replacing an unknown certificate", http.StatusNotFound, Assumed},
		{"replacing under another id", http.StatusBadRequest, Assumed},
		{"replacing by a certificate whose key is not there", http.StatusBadRequest, Documented},
		{"replacing by a certificate with fewer names", http.StatusBadRequest, Assumed},
		{"deleting an unknown certificate", http.StatusNotFound, Assumed},
		{"deleting a certificate that is activated", http.StatusBadRequest, Documented},

		{"activation of an unknown type of object", http.StatusBadRequest, Assumed},
		{"activation without a certificate", http.StatusBadRequest, Reported},
		{"activation of an unknown certificate", http.StatusBadRequest, Assumed},
		{"activation without a domain", http.StatusBadRequest, Documented},
		{"activation in an unknown configuration", http.StatusBadRequest, Assumed},
		{"activation of a domain that is not on the certificate", http.StatusBadRequest, Documented},
		{"second activation of a domain in a configuration", http.StatusBadRequest, Assumed},
		{"unknown activation", http.StatusNotFound, Assumed},
		{"moving an unknown activation", http.StatusNotFound, Assumed},
		{"moving an activation under another id", http.StatusBadRequest, Assumed},
		{"moving an activation to no certificate", http.StatusBadRequest, Assumed},
		{"moving an activation to a certificate without the domain", http.StatusBadRequest, Assumed},
		{"moving an activation to an unknown mutual authentication", http.StatusBadRequest, Assumed},
		{"deleting an unknown activation", http.StatusNotFound, Assumed},

		{"unknown configuration", http.StatusNotFound, Assumed},
		{"unknown subscription", http.StatusNotFound, Recorded},
		{"deleting an unknown subscription", http.StatusNotFound, Recorded},
		{"deleting a subscription that serves", http.StatusBadRequest, Reported},
		{"mutual authentication of an unknown type of object", http.StatusBadRequest, Assumed},
		{"mutual authentication without certificates", http.StatusBadRequest, Assumed},
		{"unknown mutual authentication", http.StatusNotFound, Assumed},
		{"changing an unknown mutual authentication", http.StatusNotFound, Assumed},
		{"deleting an unknown mutual authentication", http.StatusNotFound, Assumed},
		{"deleting a mutual authentication in use", http.StatusBadRequest, Assumed},
	}
}
