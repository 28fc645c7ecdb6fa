package flytest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const (
	maxBody      = 1 << 20
	defaultLimit = 25
	maxLimit     = 500
)

// refusal is an answer that is an error.
type refusal struct {
	status int
	text   string
}

func (r refusal) Error() string { return r.text }

func refuse(status int, format string, args ...any) error {
	return refusal{status, fmt.Sprintf(format, args...)}
}

// call is one request, understood as far as its action and app.
type call struct {
	*http.Request
	app  *app
	body []byte
}

// action answers one kind of request. It runs with the lock held and returns the
// status and what goes out as JSON; nil is an empty body.
type action struct {
	name  string
	write bool // counted when it succeeds
	never bool // Options.Forbidden is told
	do    func(s *Server, c call) (int, any, error)
}

func routes() map[string]action {
	const certificates = "/v1/apps/{app}/certificates"
	return map[string]action{
		"GET " + certificates:                           {name: "list", do: (*Server).list},
		"GET " + certificates + "/{hostname}":           {name: "get", do: (*Server).get},
		"POST " + certificates + "/{hostname}/check":    {name: "check", do: (*Server).get},
		"POST " + certificates + "/custom":              {name: "create_custom", write: true, do: (*Server).createCustom},
		"POST " + certificates + "/acme":                {name: "create_acme", write: true, never: true, do: (*Server).createACME},
		"DELETE " + certificates + "/{hostname}/custom": {name: "delete_custom", write: true, do: (*Server).deleteCustom},
		"DELETE " + certificates + "/{hostname}/acme":   {name: "delete_acme", write: true, never: true, do: (*Server).deleteACME},
		"DELETE " + certificates + "/{hostname}":        {name: "delete", write: true, never: true, do: (*Server).deleteAll},
	}
}

// Handler answers for the API.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for pattern, action := range routes() {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { s.answer(w, r, action) })
	}
	return mux
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request, action action) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		send(w, http.StatusRequestEntityTooLarge, apiError{"request body too large"})
		return
	}
	if s.inject(w, r, action, body) {
		return
	}
	status, out, err := s.run(call{Request: r, body: body}, action)
	var no refusal
	if errors.As(err, &no) {
		status, out = no.status, apiError{no.text + s.echo(body)}
	}
	if action.never && s.options.Forbidden != nil {
		s.options.Forbidden(r.Method + " " + r.URL.Path)
	}
	send(w, status, out)
}

// run checks what all actions have in common, in the order in which a server does.
func (s *Server) run(c call, action action) (int, any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests[action.name]++
	name := c.PathValue("app")
	if !s.allow(action.name, name) {
		return 0, nil, refuse(http.StatusTooManyRequests, "rate limit exceeded")
	}
	if err := s.authorize(c.Request, name); err != nil {
		return 0, nil, err
	}
	if c.app = s.apps[name]; c.app == nil {
		return 0, nil, refuse(http.StatusNotFound, "app %s not found", name)
	}
	status, out, err := action.do(s, c)
	if err == nil && action.write {
		s.writes++
	}
	return status, out, err
}

// authorize wants the scheme that fly-go uses: FlyV1 for macaroons, else Bearer. A
// token of another app is told nothing of this one.
func (s *Server) authorize(r *http.Request, name string) error {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	wanted := "Bearer"
	if prefix, _, _ := strings.Cut(token, "_"); slices.Contains([]string{"fm1r", "fm1a", "fm2"}, prefix) {
		wanted = "FlyV1"
	}
	if token == "" || scheme != wanted {
		return refuse(http.StatusUnauthorized, "authentication failed")
	}
	known := false
	for _, app := range s.apps {
		known = known || app.token == token
	}
	switch {
	case !known:
		return refuse(http.StatusUnauthorized, "authentication failed")
	case s.apps[name] != nil && s.apps[name].token != token:
		return refuse(http.StatusForbidden, "token is not authorized for app %s", name)
	}
	return nil
}

func (s *Server) list(c call) (int, any, error) {
	query := c.URL.Query()
	limit := defaultLimit
	if text := query.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxLimit {
			return 0, nil, refuse(http.StatusBadRequest, "limit must be between 1 and %d", maxLimit)
		}
		limit = n
	}
	cursor := query.Get("cursor")
	if cursor != "" && !slices.Contains(c.app.hostnames(), cursor) {
		return 0, nil, refuse(http.StatusBadRequest, "invalid cursor")
	}
	return http.StatusOK, c.app.page(query.Get("filter"), cursor, limit), nil
}

func (s *Server) get(c call) (int, any, error) {
	host, err := c.host()
	if err != nil {
		return 0, nil, err
	}
	s.lookUp(host)
	return http.StatusOK, host.detail(), nil
}

func (s *Server) createCustom(c call) (int, any, error) {
	var in importRequest
	if err := c.decode(&in); err != nil {
		return 0, nil, err
	}
	if err := checkHostname(in.Hostname); err != nil {
		return 0, nil, err
	}
	if in.Fullchain == "" || in.PrivateKey == "" {
		return 0, nil, refuse(http.StatusUnprocessableEntity, "fullchain and private_key are required")
	}
	certificate, err := parseCertificate(in.Hostname, in.Fullchain, in.PrivateKey)
	if err != nil {
		return 0, nil, refuse(http.StatusUnprocessableEntity, "%s", err)
	}
	host := c.app.add(in.Hostname)
	host.custom = certificate
	s.lookUp(host)
	return http.StatusCreated, host.detail(), nil
}

func (s *Server) createACME(c call) (int, any, error) {
	var in acmeRequest
	if err := c.decode(&in); err != nil {
		return 0, nil, err
	}
	if err := checkHostname(in.Hostname); err != nil {
		return 0, nil, err
	}
	host := c.app.add(in.Hostname)
	host.acmeRequested = true
	return http.StatusCreated, host.detail(), nil
}

func (s *Server) deleteCustom(c call) (int, any, error) {
	host, err := c.host()
	if err != nil {
		return 0, nil, err
	}
	if host.custom == nil {
		return 0, nil, refuse(http.StatusNotFound, "no custom certificate for %s", host.name)
	}
	host.custom = nil
	return http.StatusOK, host.detail(), nil
}

func (s *Server) deleteACME(c call) (int, any, error) {
	host, err := c.host()
	if err != nil {
		return 0, nil, err
	}
	host.own, host.acmeRequested = nil, false
	return http.StatusOK, host.detail(), nil
}

func (s *Server) deleteAll(c call) (int, any, error) {
	host, err := c.host()
	if err != nil {
		return 0, nil, err
	}
	delete(c.app.hosts, host.name)
	return http.StatusNoContent, nil, nil
}

func (c call) host() (*host, error) {
	name := c.PathValue("hostname")
	if host := c.app.hosts[name]; host != nil {
		return host, nil
	}
	return nil, refuse(http.StatusNotFound, "certificate for %s not found", name)
}

// decode reads the body: JSON, and nothing that the API does not know.
func (c call) decode(in any) error {
	if c.Header.Get("Content-Type") != "application/json" {
		return refuse(http.StatusBadRequest, "content type must be application/json")
	}
	decoder := json.NewDecoder(bytes.NewReader(c.body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(in); err != nil {
		return refuse(http.StatusBadRequest, "request body does not parse")
	}
	return nil
}

var hostnamePattern = regexp.MustCompile(`^(\*\.)?([a-z0-9]([-a-z0-9]*[a-z0-9])?\.)+[a-z]([-a-z0-9]*[a-z0-9])?$`)

func checkHostname(hostname string) error {
	if !hostnamePattern.MatchString(hostname) {
		return refuse(http.StatusUnprocessableEntity, "hostname is invalid")
	}
	return nil
}

func send(w http.ResponseWriter, status int, out any) {
	if out == nil {
		w.WriteHeader(status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(out)
}
