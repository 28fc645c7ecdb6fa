package kubeserver

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/anycert/anycert/internal/testenv/auditlog"
)

// Request is one line of the audit log: a request that was answered.
type Request struct {
	Time      time.Time
	Verb      string // get, list, watch, create, update, patch, delete
	Resource  string // secrets, or the path of what is no resource
	Namespace string
	Name      string
	User      string // admin, system:serviceaccount:web:anycert
	UserAgent string
	Status    int // HTTP
	DryRun    bool
}

// Mark remembers a place in the audit log, see Requests.
type Mark int64

func (s *Server) auditFile() string { return s.file("audit.log") }

// Mark returns the end of the audit log.
func (s *Server) Mark() (Mark, error) {
	end, err := auditlog.End(s.auditFile())
	if err != nil {
		return 0, fmt.Errorf("kube-apiserver: %w", err)
	}
	return Mark(end), nil
}

// Requests returns what the server has answered since the mark; 0 is the
// start. Its requests to itself are left out.
func (s *Server) Requests(since Mark) ([]Request, error) {
	requests, err := auditlog.Since(s.auditFile(), int64(since), parseLine)
	if err != nil {
		return nil, fmt.Errorf("kube-apiserver: %w", err)
	}
	return requests, nil
}

// parseLine reads one line. A watch leaves two, of which the first counts, so
// that one which still runs is seen.
func parseLine(line []byte) (r Request, counts bool, err error) {
	var event struct {
		Stage      string    `json:"stage"`
		Time       time.Time `json:"requestReceivedTimestamp"`
		Verb       string    `json:"verb"`
		RequestURI string    `json:"requestURI"`
		UserAgent  string    `json:"userAgent"`
		User       struct {
			Username string `json:"username"`
		} `json:"user"`
		ObjectRef struct {
			Resource    string `json:"resource"`
			Subresource string `json:"subresource"`
			Namespace   string `json:"namespace"`
			Name        string `json:"name"`
		} `json:"objectRef"`
		ResponseStatus struct {
			Code int `json:"code"`
		} `json:"responseStatus"`
	}
	if err := json.Unmarshal(line, &event); err != nil {
		return Request{}, false, err
	}
	path, query, _ := strings.Cut(event.RequestURI, "?")
	resource := event.ObjectRef.Resource
	switch {
	case resource == "":
		resource = path
	case event.ObjectRef.Subresource != "":
		resource += "/" + event.ObjectRef.Subresource
	}
	return Request{
		Time:      event.Time,
		Verb:      event.Verb,
		Resource:  resource,
		Namespace: event.ObjectRef.Namespace,
		Name:      event.ObjectRef.Name,
		User:      event.User.Username,
		UserAgent: event.UserAgent,
		Status:    event.ResponseStatus.Code,
		DryRun:    strings.Contains(query, "dryRun=All"),
	}, event.User.Username != "system:apiserver" && (event.Verb != "watch" || event.Stage == "ResponseStarted"), nil
}

// From returns the requests whose user agent begins with a word, such as
// "anycert".
func From(userAgent string, requests []Request) []Request {
	return auditlog.Filter(requests, func(r Request) bool { return strings.HasPrefix(r.UserAgent, userAgent) })
}

// Writes returns the requests that would change something, dry runs included.
func Writes(requests []Request) []Request {
	return auditlog.Filter(requests, func(r Request) bool {
		switch r.Verb {
		case "create", "update", "patch", "delete", "deletecollection":
			return true
		}
		return false
	})
}

// Count counts requests by verb and resource: "get secrets" → 2.
func Count(requests []Request) map[string]int {
	counts := map[string]int{}
	for _, r := range requests {
		counts[r.Verb+" "+r.Resource]++
	}
	return counts
}
