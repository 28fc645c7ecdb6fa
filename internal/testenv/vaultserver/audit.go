package vaultserver

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/anycert/anycert/internal/testenv/auditlog"
)

// Request is one line of the audit log: a request that Vault has answered.
type Request struct {
	Time        time.Time
	Operation   string // read, list, create, update, patch, delete
	Path        string // secret/data/anycert/certs/example
	DisplayName string // who: root, token, approle, kubernetes-web-anycert
	Accessor    string // of the client's token, hashed by Vault
	Error       string // as answered; empty when it was granted
}

// Mark remembers a place in the audit log, see Requests.
type Mark int64

// Mark returns the end of the audit log.
func (s *Server) Mark() (Mark, error) {
	end, err := auditlog.End(s.auditFile())
	if err != nil {
		return 0, fmt.Errorf("vault: %w", err)
	}
	return Mark(end), nil
}

// Requests returns what Vault has answered since the mark; 0 is the start.
// Vault writes each line before it answers, so that none is missing.
func (s *Server) Requests(since Mark) ([]Request, error) {
	requests, err := auditlog.Since(s.auditFile(), int64(since), parseLine)
	if err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	return requests, nil
}

// parseLine reads one line. Vault writes two for each request: the answer's
// holds what the request's does, and the error.
func parseLine(line []byte) (r Request, answered bool, err error) {
	var entry struct {
		Time  time.Time `json:"time"`
		Type  string    `json:"type"`
		Error string    `json:"error"`
		Auth  struct {
			DisplayName string `json:"display_name"`
			Accessor    string `json:"accessor"`
		} `json:"auth"`
		Request struct {
			Operation string `json:"operation"`
			Path      string `json:"path"`
		} `json:"request"`
	}
	if err := json.Unmarshal(line, &entry); err != nil {
		return Request{}, false, err
	}
	return Request{
		Time:        entry.Time,
		Operation:   entry.Request.Operation,
		Path:        entry.Request.Path,
		DisplayName: entry.Auth.DisplayName,
		Accessor:    entry.Auth.Accessor,
		Error:       entry.Error,
	}, entry.Type == "response", nil
}

// Count counts requests by operation and path: "read secret/data/a" → 2.
func Count(requests []Request) map[string]int {
	counts := map[string]int{}
	for _, r := range requests {
		counts[r.Operation+" "+r.Path]++
	}
	return counts
}

// KeyReads returns the requests that read a version's data, and so a key. The records
// about renewals and limits hold none.
func KeyReads(requests []Request) []Request {
	return auditlog.Filter(requests, func(r Request) bool {
		return r.Operation == "read" && strings.Contains(r.Path, "/data/") && !keyless.MatchString(r.Path)
	})
}

var keyless = regexp.MustCompile(`/(renewals|budgets|requests|alarms)/[^/]+$`)

// Writes returns the requests that write or remove data or metadata in KV v2.
func Writes(requests []Request) []Request {
	return auditlog.Filter(requests, func(r Request) bool {
		switch r.Operation {
		case "create", "update", "patch", "delete":
		default:
			return false
		}
		for _, part := range []string{"/data/", "/metadata/", "/delete/", "/undelete/", "/destroy/"} {
			if strings.Contains(r.Path, part) {
				return true
			}
		}
		return false
	})
}
