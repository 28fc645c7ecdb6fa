// Package hookserver takes webhooks as somebody else's code would: it verifies each
// signature by the Standard Webhooks specification, refuses fields that nobody has told it
// of, and keeps what it took.
package hookserver

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Event is what docs/alarms.md says of a body.
type Event struct {
	Schema int       `json:"schema"`
	ID     string    `json:"id"`
	Event  string    `json:"event"`
	Time   time.Time `json:"time"`
	Hub    string    `json:"hub"`
	Text   string    `json:"text"`
	Alarm  struct {
		Key         string    `json:"key"`
		Kind        string    `json:"kind"`
		Severity    string    `json:"severity"`
		Certificate string    `json:"certificate"`
		Owner       string    `json:"owner"`
		Description string    `json:"description"`
		Sink        string    `json:"sink"`
		Target      string    `json:"target"`
		Text        string    `json:"text"`
		Since       time.Time `json:"since"`
		NotAfter    time.Time `json:"not_after"`
	} `json:"alarm"`
}

func (e Event) String() string {
	return e.Event + " " + e.Alarm.Severity + " " + e.Alarm.Key
}

// Server is a receiver on a port of loopback.
type Server struct {
	URL    string // with a path that is a secret
	Secret string // "whsec_…"
	Path   string // the part of URL that is the secret

	server *httptest.Server

	mu       sync.Mutex
	answer   int // other than 200
	events   []Event
	bodies   []byte
	problems []string
	asked    int
}

// Start starts a receiver. path and key are secrets of the test's own.
func Start(path string, key []byte) *Server {
	s := &Server{Path: path, Secret: "whsec_" + base64.StdEncoding.EncodeToString(key)}
	s.server = httptest.NewServer(http.HandlerFunc(s.take))
	s.URL = s.server.URL + "/" + path
	return s
}

// Close ends the server.
func (s *Server) Close() { s.server.Close() }

// Answer makes it answer every request with a status, and take nothing; 0 ends that.
func (s *Server) Answer(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = status
}

// Events are those that were taken, each id once, in their order.
func (s *Server) Events() []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	var events []Event
	seen := map[string]bool{}
	for _, e := range s.events {
		if !seen[e.ID] {
			seen[e.ID] = true
			events = append(events, e)
		}
	}
	return events
}

// Heard is everything that came, headers and bodies, for a search.
func (s *Server) Heard() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.bodies)
}

// Asked counts the requests.
func (s *Server) Asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// Problems are what was wrong with what came.
func (s *Server) Problems() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.problems...)
}

func (s *Server) take(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	s.bodies = fmt.Appendf(s.bodies, "%v\n%s\n", r.Header, body)
	var event Event
	if err == nil {
		event, err = s.read(r, body)
	}
	if err != nil {
		s.problems = append(s.problems, err.Error())
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if s.answer != 0 {
		w.Header().Set("Location", "/elsewhere")
		http.Error(w, "the answer of a server that is not to be seen anywhere", s.answer)
		return
	}
	s.events = append(s.events, event)
}

func (s *Server) read(r *http.Request, body []byte) (Event, error) {
	var event Event
	if r.Method != http.MethodPost || r.URL.Path != "/"+s.Path || r.Header.Get("Content-Type") != "application/json" {
		return event, fmt.Errorf("a request that is none of ours: %s", r.Method)
	}
	if err := s.verify(r.Header, body); err != nil {
		return event, err
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&event); err != nil {
		return event, fmt.Errorf("the body: %w", err)
	}
	if event.ID != r.Header.Get("webhook-id") || event.Schema != 1 || event.Alarm.Key == "" || event.Text == "" || event.Alarm.Text == "" || event.Alarm.Since.IsZero() {
		return event, fmt.Errorf("the body lacks something: %s", body)
	}
	return event, nil
}

// verify is section "Verifying webhook authenticity" of the specification.
func (s *Server) verify(header http.Header, body []byte) error {
	timestamp := header.Get("webhook-timestamp")
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || time.Since(time.Unix(seconds, 0)).Abs() > 5*time.Minute {
		return fmt.Errorf("the timestamp %q", timestamp)
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s.Secret, "whsec_"))
	if err != nil {
		return err
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(header.Get("webhook-id") + "." + timestamp + "." + string(body)))
	for _, signature := range strings.Fields(header.Get("webhook-signature")) {
		version, encoded, _ := strings.Cut(signature, ",")
		given, err := base64.StdEncoding.DecodeString(encoded)
		if version == "v1" && err == nil && hmac.Equal(given, mac.Sum(nil)) {
			return nil
		}
	}
	return fmt.Errorf("the signature %q is not right", header.Get("webhook-signature"))
}
