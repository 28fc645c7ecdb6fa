package flytest

import "net/http"

// Refusal is one thing that the stand-in refuses. Each has a test of this name.
type Refusal struct {
	Name   string
	Status int
	Ground string // Documented, or Assumed
}

// The grounds of a refusal.
const (
	Documented = "documented by Fly.io"
	Assumed    = "assumed: the documentation is silent, and this is the stricter guess"
)

// Refusals lists everything that the stand-in refuses.
func Refusals() []Refusal {
	return []Refusal{
		{"no token", http.StatusUnauthorized, Documented},
		{"unknown token", http.StatusUnauthorized, Documented},
		{"macaroon sent as Bearer", http.StatusUnauthorized, Assumed},
		{"other token sent as FlyV1", http.StatusUnauthorized, Assumed},
		{"token of another app", http.StatusForbidden, Assumed},
		{"unknown app", http.StatusNotFound, Documented},
		{"unknown hostname", http.StatusNotFound, Documented},
		{"unknown path", http.StatusNotFound, Documented},
		{"unknown method", http.StatusMethodNotAllowed, Assumed},
		{"too many requests of one action", http.StatusTooManyRequests, Documented},
		{"body that is not declared as JSON", http.StatusBadRequest, Assumed},
		{"body that is not JSON", http.StatusBadRequest, Documented},
		{"unknown field", http.StatusBadRequest, Assumed},
		{"body above 1 MiB", http.StatusRequestEntityTooLarge, Assumed},
		{"no hostname", http.StatusUnprocessableEntity, Documented},
		{"invalid hostname", http.StatusUnprocessableEntity, Documented},
		{"no fullchain", http.StatusUnprocessableEntity, Documented},
		{"no private key", http.StatusUnprocessableEntity, Documented},
		{"unparsable fullchain", http.StatusUnprocessableEntity, Documented},
		{"private key within the fullchain", http.StatusUnprocessableEntity, Assumed},
		{"unparsable private key", http.StatusUnprocessableEntity, Documented},
		{"private key of another certificate", http.StatusUnprocessableEntity, Documented},
		{"leaf not first", http.StatusUnprocessableEntity, Documented},
		{"expired certificate", http.StatusUnprocessableEntity, Documented},
		{"certificate that is not valid yet", http.StatusUnprocessableEntity, Assumed},
		{"hostname that the certificate does not cover", http.StatusUnprocessableEntity, Documented},
		{"wildcard that the certificate does not name", http.StatusUnprocessableEntity, Documented},
		{"removing a custom certificate that is not there", http.StatusNotFound, Assumed},
		{"limit of no", http.StatusBadRequest, Assumed},
		{"limit above 500", http.StatusBadRequest, Documented},
		{"cursor of another listing", http.StatusBadRequest, Assumed},
	}
}
