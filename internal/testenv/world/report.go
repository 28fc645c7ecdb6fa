package world

import (
	"encoding/json"
	"fmt"
	"os/exec"
)

// Place is one target, as a report names it.
type Place struct{ Certificate, Sink, Target string }

// Promise is one of a report in JSON, as machines read it.
type Promise struct {
	Certificate string `json:"certificate"`
	Sink        string `json:"sink"`
	Target      string `json:"target"`
	Verdict     string `json:"verdict"`
	Action      string `json:"action"`
	Reason      string `json:"reason"`
	Pushed      bool   `json:"pushed"`
	Because     string `json:"because"`
	Version     int    `json:"version"`
}

// Place is where it was made.
func (p Promise) Place() Place { return Place{p.Certificate, p.Sink, p.Target} }

func (p Promise) String() string {
	return fmt.Sprintf("%s at %s %s: %s %s %s%s", p.Certificate, p.Sink, p.Target, p.Verdict, p.Action, p.Reason, p.Because)
}

// Report is what audit, sync and status print with -o json.
type Report struct {
	Schema       int       `json:"schema"`
	Promises     []Promise `json:"promises"`
	Certificates []struct {
		Name    string `json:"name"`
		Version int    `json:"version"`
		Problem string `json:"problem"`
	} `json:"certificates"`
	Undeclared []string `json:"undeclared"`
	Notes      []string `json:"notes"`
}

// NotKept are the promises with another verdict.
func (r Report) NotKept() (some []Promise) {
	for _, p := range r.Promises {
		if p.Verdict != "kept" {
			some = append(some, p)
		}
	}
	return some
}

// Acted are the promises that something is, or was, to be done about.
func (r Report) Acted() (some []Promise) {
	for _, p := range r.Promises {
		if p.Action != "" || p.Pushed {
			some = append(some, p)
		}
	}
	return some
}

// Report runs a verb with -o json and expects an exit code.
func (w *World) Report(code int, config, verb string, args ...string) Report {
	w.T.Helper()
	return w.ReportOf(code, w.Command(config, append([]string{verb, "-o", "json"}, args...)...))
}

// ReportOf is Report of a command that was prepared with -o json.
func (w *World) ReportOf(code int, cmd *exec.Cmd) Report {
	w.T.Helper()
	got := w.Do(cmd)
	if got.Code != code {
		w.T.Errorf("want exit code %d: %v", code, got)
	}
	var r Report
	if err := json.Unmarshal([]byte(got.Stdout), &r); err != nil || r.Schema != 1 {
		w.T.Fatalf("no report of schema 1 (%v): %v", err, got)
	}
	return r
}

// Kept expects that a report has promises and that every one is kept.
func (w *World) Kept(r Report) {
	w.T.Helper()
	if len(r.Promises) == 0 {
		w.T.Error("the report has no promises")
	}
	for _, p := range r.NotKept() {
		w.T.Errorf("not kept: %v", p)
	}
}
