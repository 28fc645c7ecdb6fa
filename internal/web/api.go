package web

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/anycert/anycert/reconcile"
)

// APISchema is in every answer under /api/v1/. It counts up when a field changes its
// meaning; new fields may come at any time.
const APISchema = 1

// apiPage is how many certificates an answer has, and apiMost how many it has at most.
const (
	apiPage = 100
	apiMost = 1000
)

// api answers with what the status page shows, as JSON. docs/api.md describes it.
type api struct {
	health Health
	build  Build
}

func (a api) register(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/v1/status", a.status)
	mux.HandleFunc("GET /api/v1/certificates", a.certificates)
	mux.HandleFunc("GET /api/v1/certificates/{name}", a.certificate)
	mux.HandleFunc("GET /api/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, r, http.StatusNotFound, "there is /api/v1/status, /api/v1/certificates and /api/v1/certificates/NAME")
	})
}

// apiHead is what every answer begins with.
type apiHead struct {
	Schema int       `json:"schema"`
	Time   time.Time `json:"time"`
	Owner  string    `json:"owner"` // of the hub
}

func head(view *reconcile.View) apiHead { return apiHead{APISchema, view.Time, view.Owner} }

// apiStatus is the whole in numbers, what is wrong, and what was done lately.
type apiStatus struct {
	apiHead
	Version  string                    `json:"version"` // of anycert
	Looked   time.Time                 `json:"looked,omitzero"`
	States   map[reconcile.State]int   `json:"certificates"`
	Verdicts map[reconcile.Verdict]int `json:"promises"`
	Sinks    []reconcile.SinkView      `json:"sinks"`
	Alarms   []reconcile.Alarm         `json:"alarms"`
	Changes  []reconcile.Change        `json:"changes"`
}

func (a api) status(w http.ResponseWriter, _ *http.Request) {
	view := a.health.View(time.Now())
	counted := summarize(&view)
	status := apiStatus{apiHead: head(&view), Version: a.build.Version, Looked: view.Looked.UTC(),
		States: counted.Certificates, Verdicts: counted.Verdicts,
		Sinks: listed(view.Sinks), Alarms: listed(view.Alarms), Changes: listed(view.Changes)}
	for i := range status.Sinks {
		s := &status.Sinks[i]
		s.Passes = listed(s.Passes)
		if s.Verdicts == nil {
			s.Verdicts = map[reconcile.Verdict]int{}
		}
	}
	writeJSON(w, http.StatusOK, status)
}

// apiCertificates is one page of certificates.
type apiCertificates struct {
	apiHead
	Total        int                         `json:"total"` // on all pages
	Page         int                         `json:"page"`
	Pages        int                         `json:"pages"`
	Certificates []reconcile.CertificateView `json:"certificates"`
}

func (a api) certificates(w http.ResponseWriter, r *http.Request) {
	view := a.health.View(time.Now())
	if wrong := mistaken(r.URL.Query(), &view); wrong != "" {
		refuse(w, r, http.StatusBadRequest, wrong)
		return
	}
	query := ask(r.URL.Query(), apiPage, apiMost)
	found := query.find(&view)
	answer := apiCertificates{head(&view), found.Total, query.Page, found.Pages, []reconcile.CertificateView{}}
	if query.Page > found.Pages { // whoever counts up comes to an end
		found.Certificates = nil
	}
	for _, c := range found.Certificates {
		answer.Certificates = append(answer.Certificates, complete(*c))
	}
	writeJSON(w, http.StatusOK, answer)
}

// apiCertificate is one of them.
type apiCertificate struct {
	apiHead
	Certificate reconcile.CertificateView `json:"certificate"`
}

func (a api) certificate(w http.ResponseWriter, r *http.Request) {
	view := a.health.View(time.Now())
	c := named(&view, r.PathValue("name"))
	if c == nil {
		refuse(w, r, http.StatusNotFound, "no certificate of this name is declared: /api/v1/certificates lists them")
		return
	}
	writeJSON(w, http.StatusOK, apiCertificate{head(&view), complete(*c)})
}

// complete has lists where there is nothing, so that nobody has to ask for null.
func complete(c reconcile.CertificateView) reconcile.CertificateView {
	c.Promises, c.Domains = listed(c.Promises), listed(c.Domains)
	return c
}

func listed[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func writeJSON(w http.ResponseWriter, status int, answer any) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(answer); err != nil {
		http.Error(w, "the answer could not be made: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(text.Bytes()) // who does not read on has gone
}

// refuse answers with one sentence, in the form that was asked for.
func refuse(w http.ResponseWriter, r *http.Request, status int, text string) {
	if strings.HasPrefix(r.URL.Path, "/api/") {
		writeJSON(w, status, map[string]string{"error": text})
		return
	}
	http.Error(w, text, status)
}
