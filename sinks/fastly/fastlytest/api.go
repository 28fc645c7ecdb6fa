package fastlytest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// maxBody bounds a request: a chain of ten certificates is well below.
const maxBody = 256 << 10

// router knows every path. Whatever it does not know is 404.
func (s *Server) router() *http.ServeMux {
	mux := http.NewServeMux()
	for pattern, handler := range map[string]func(incoming) answer{
		"GET /tls/private_keys":         s.listKeys,
		"POST /tls/private_keys":        s.createKey,
		"GET /tls/private_keys/{id}":    s.getKey,
		"DELETE /tls/private_keys/{id}": s.deleteKey,

		"GET /tls/certificates":         s.listCertificates,
		"POST /tls/certificates":        s.createCertificate,
		"GET /tls/certificates/{id}":    s.getCertificate,
		"PATCH /tls/certificates/{id}":  s.updateCertificate,
		"DELETE /tls/certificates/{id}": s.deleteCertificate,

		"GET /tls/activations":         s.listActivations,
		"POST /tls/activations":        s.createActivation,
		"GET /tls/activations/{id}":    s.getActivation,
		"PATCH /tls/activations/{id}":  s.updateActivation,
		"DELETE /tls/activations/{id}": s.deleteActivation,

		"GET /tls/mutual_authentications":         s.listMutual,
		"POST /tls/mutual_authentications":        s.createMutual,
		"GET /tls/mutual_authentications/{id}":    s.getMutual,
		"PATCH /tls/mutual_authentications/{id}":  s.updateMutual,
		"DELETE /tls/mutual_authentications/{id}": s.deleteMutual,

		"GET /tls/configurations/{id}":   s.getConfiguration,
		"GET /tls/subscriptions":         s.listSubscriptions,
		"GET /tls/subscriptions/{id}":    s.getSubscription,
		"DELETE /tls/subscriptions/{id}": s.deleteSubscription,
		"GET /tls/domains":               s.listDomains,

		"/": func(incoming) answer { return notFound("resource") },
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, handler) })
	}
	return mux
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.routes.ServeHTTP(w, r) }

// serve does what is the same for every path.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, handler func(incoming) answer) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	s.wait(r.Context())
	s.mu.Lock()
	defer s.mu.Unlock()
	request := Request{r.Method, r.URL.Path}
	s.requests = append(s.requests, request)
	fault := s.faults.next(request)
	if fault.drop {
		panic(http.ErrAbortHandler)
	}
	a := fault.instead
	if a == nil {
		result := s.allow(w, r, body, err, handler)
		a = &result
	}
	if fault.lost != nil {
		a = fault.lost
	}
	if s.faults.echo && a.status >= 400 {
		a = echo(*a, r, body)
	}
	write(w, *a)
}

// allow answers, after everything that may speak against it.
func (s *Server) allow(w http.ResponseWriter, r *http.Request, body []byte, err error, handler func(incoming) answer) answer {
	isWrite := Request{r.Method, r.URL.Path}.IsWrite()
	switch {
	case err != nil:
		return refuse(http.StatusRequestEntityTooLarge, "Payload too large", "")
	case r.Header.Get("Fastly-Key") != s.options.Token || s.options.Token == "":
		return refuse(http.StatusUnauthorized, "Unauthorized", "Provided credentials are missing or invalid")
	case s.faults.forbid:
		return refuse(http.StatusForbidden, "Forbidden", "You are not authorized to perform this action")
	case isWrite && !s.spend(w):
		return refuse(http.StatusTooManyRequests, "Too many requests", "You have exceeded your hourly rate limit")
	}
	in := incoming{id: r.PathValue("id"), url: r.URL}
	if r.Header.Get("Accept") == mediaType { // "this is required otherwise the filters don't work", says go-fastly
		in.filters = r.URL.Query()
	}
	if r.Method == http.MethodPost || r.Method == http.MethodPatch {
		if r.Header.Get("Content-Type") != mediaType {
			return refuse(http.StatusUnsupportedMediaType, "Unsupported media type", "Content-Type must be "+mediaType)
		}
		if err := json.Unmarshal(body, &in.body); err != nil {
			return refuse(http.StatusBadRequest, "Bad request", "The body is not valid JSON")
		}
	}
	return handler(in)
}

// spend takes one write from the hour's budget and says what is left of it.
func (s *Server) spend(w http.ResponseWriter) bool {
	if time.Now().After(s.reset) {
		s.remaining, s.reset = writesAnHour, time.Now().Add(time.Hour)
	}
	left := s.remaining
	s.remaining = max(0, left-1)
	w.Header().Set("Fastly-RateLimit-Remaining", strconv.Itoa(s.remaining))
	w.Header().Set("Fastly-RateLimit-Reset", strconv.FormatInt(s.reset.Unix(), 10))
	return left > 0
}

func write(w http.ResponseWriter, a answer) {
	if raw, ok := a.body.(string); ok { // what FailNext was told to say
		w.WriteHeader(a.status)
		_, _ = io.WriteString(w, raw)
		return
	}
	if a.body == nil {
		w.WriteHeader(a.status)
		return
	}
	w.Header().Set("Content-Type", mediaType)
	w.WriteHeader(a.status)
	_ = json.NewEncoder(w).Encode(a.body)
}

// echo repeats in a refusal what was sent, as a careless server or proxy would.
func echo(a answer, r *http.Request, body []byte) *answer {
	var headers bytes.Buffer
	_ = r.Header.Write(&headers)
	result := refuse(a.status, http.StatusText(a.status), fmt.Sprintf("%v in: %s %s", a.body, body, headers.String()))
	return &result
}
