package web_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/anycert/anycert/internal/web/webtest"
)

var writeDocs = flag.Bool("docs", false, "write the examples in docs/api.md anew")

// documented is the hub of the examples in docs/api.md: small enough to be read.
func documented() webtest.Fixed {
	view := webtest.Example()
	view.Certificates = view.Certificates[1:3]
	view.Sinks = view.Sinks[3:4]
	view.Sinks[0].Passes = view.Sinks[0].Passes[58:]
	view.Alarms, view.Changes = view.Alarms[:1], view.Changes[4:5]
	return webtest.Fixed{Shown: view}
}

// The examples in docs/api.md are what is answered.
func TestAPIPage(t *testing.T) {
	const path = "../../docs/api.md"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	handler := handler(documented())
	examples := 0
	page := regexp.MustCompile("(?s)```console\n\\$ curl -s http://127\\.0\\.0\\.1:8080(/[^\n]*)\n.*?```").ReplaceAllStringFunc(string(text), func(example string) string {
		examples++
		address := strings.Trim(strings.TrimPrefix(strings.Split(example, "\n")[1], "$ curl -s http://127.0.0.1:8080"), "'")
		_, _, body := ask(t, handler, "GET", address)
		return "```console\n$ curl -s http://127.0.0.1:8080" + address + "\n" + body + "```"
	})
	if *writeDocs {
		if err := os.WriteFile(path, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if diff := cmp.Diff(string(text), page); diff != "" {
		t.Errorf("go test ./internal/web -run API -docs writes the examples of docs/api.md anew:\n%s", diff)
	}
	if examples != 3 {
		t.Errorf("%d examples", examples)
	}
}

// Each field that is answered has a row in docs/api.md.
func TestAPIFieldsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	handler := handler(webtest.Fixed{Shown: webtest.Example()})
	for _, address := range []string{"/api/v1/status", "/api/v1/certificates"} {
		_, header, body := ask(t, handler, "GET", address)
		if header.Get("Content-Type") != "application/json" || strings.Contains(body, "null") {
			t.Errorf("%s: %s", address, header)
		}
		var answer any
		if err := json.Unmarshal([]byte(body), &answer); err != nil {
			t.Fatal(err)
		}
		for field := range fields(answer, nil) {
			if !strings.Contains(string(text), "`"+field+"`") {
				t.Errorf("%s: docs/api.md does not say what %s is", address, field)
			}
		}
	}
}

// fields are the names of all fields of an answer, but for those that count verdicts and
// states.
func fields(value any, into map[string]bool) map[string]bool {
	if into == nil {
		into = make(map[string]bool)
	}
	switch value := value.(type) {
	case map[string]any:
		for name, inner := range value {
			if number, counts := inner.(float64); !counts || !closed[name] || number < 0 {
				into[name] = true
			}
			fields(inner, into)
		}
	case []any:
		for _, inner := range value {
			fields(inner, into)
		}
	}
	return into
}

var closed = map[string]bool{"kept": true, "waiting": true, "broken": true, "held": true, "refused": true, "unknown": true,
	"failing": true, "well": true, "suspended": true}

func TestAPIRefusals(t *testing.T) {
	handler := handler(documented())
	const list = "/api/v1/certificates?"
	for address, want := range map[string]int{"/api/": 404, "/api/v1/": 404, "/api/v2/status": 404, "/api/v1/certificates/none": 404,
		list + "state=broken": 400, list + "sort=date": 400, list + "page=0": 400, list + "size=x": 400, list + "sink=nope": 400,
		list + "status=failing": 400, list + "q=" + strings.Repeat("a", 201): 400} {
		code, header, body := ask(t, handler, "GET", address)
		var answer struct{ Error string }
		if err := json.Unmarshal([]byte(body), &answer); err != nil || code != want || answer.Error == "" || header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %s (%v)", address, code, body, err)
		}
	}
}

// Whoever asks for page after page comes to an end.
func TestAPIPages(t *testing.T) {
	handler := handler(webtest.Fixed{Shown: webtest.Many(20)})
	seen := 0
	for page := 1; ; page++ {
		_, _, body := ask(t, handler, "GET", fmt.Sprintf("/api/v1/certificates?sort=name&state=&size=10&page=%d", page))
		var answer struct {
			Total, Page, Pages int
			Certificates       []struct{ Name string }
		}
		if err := json.Unmarshal([]byte(body), &answer); err != nil || answer.Page != page || answer.Pages != 3 || page > 4 {
			t.Fatalf("page %d: %s (%v)", page, body, err)
		}
		if seen += len(answer.Certificates); len(answer.Certificates) == 0 {
			break
		}
	}
	if seen != 27 {
		t.Errorf("%d certificates were listed", seen)
	}
}
