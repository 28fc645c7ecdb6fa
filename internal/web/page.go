package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"html/template"
	"io/fs"
	"net/http"
	"strings"
	"time"

	"github.com/anycert/anycert/reconcile"
)

// The status page is made here, of templates, and needs no script: searching, filtering,
// sorting and paging are parameters of its address.

//go:embed assets
var assets embed.FS

// pages shows the status page.
type pages struct {
	health    Health
	build     Build
	templates *template.Template
	styles    string // the address of the style sheet, which changes with it
	script    string
}

// How many of each are on one page.
const (
	certificatesOnPage = 50
	promisesOnPage     = 100
	promisesInRow      = 3
	changesOnPage      = 20
)

func newPages(health Health, build Build) *pages {
	p := &pages{health: health, build: build, styles: addressOfAsset("page.css"), script: addressOfAsset("page.js")}
	p.templates = template.Must(template.New("").Funcs(template.FuncMap{
		"stamp": stamp, "machine": machine, "number": number,
		"list": func(words []string) string { return strings.Join(words, ", ") },
	}).ParseFS(assets, "assets/*.html"))
	return p
}

// addressOfAsset has a digest of the file in it, so that browsers may keep it for ever.
func addressOfAsset(name string) string {
	text, err := assets.ReadFile("assets/" + name)
	if err != nil {
		panic(err) // it is embedded
	}
	sum := sha256.Sum256(text)
	return "assets/" + hex.EncodeToString(sum[:6]) + "/" + name
}

// policy is what a browser may do for the page: nothing but show it.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// register adds what is shown to people.
func (p *pages) register(mux *http.ServeMux) {
	mux.HandleFunc("GET /{$}", p.overview)
	mux.HandleFunc("GET /certificates/{name}", p.certificate)
	for _, name := range []string{"page.css", "page.js", "icon.svg"} {
		mux.HandleFunc("GET /"+addressOfAsset(name), asset(name))
	}
}

func asset(name string) http.HandlerFunc {
	text, err := fs.ReadFile(assets, "assets/"+name)
	if err != nil {
		panic(err) // it is embedded
	}
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "private, max-age=31536000, immutable")
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(text))
	}
}

// frame is what every page has.
type frame struct {
	Title  string
	Root   string // the way to /
	Owner  string
	Time   time.Time
	Build  Build
	Styles string
	Script string
	Icon   string
}

func (p *pages) frame(title, root string, view *reconcile.View) frame {
	return frame{Title: title, Root: root, Owner: view.Owner, Time: view.Time, Build: p.build,
		Styles: root + p.styles, Script: root + p.script, Icon: root + addressOfAsset("icon.svg")}
}

// overviewPage is the page at /.
type overviewPage struct {
	frame
	Query   query
	Summary summary
	Alarms  []alarm
	More    int // alarms
	Filters []filter
	Sinks   []sinkRow
	Rows    []row
	Total   int
	Of      int
	Pager   pager
	Changes []changeRow
}

func (p *pages) overview(w http.ResponseWriter, r *http.Request) {
	view := p.health.View(time.Now())
	query := ask(r.URL.Query(), certificatesOnPage, certificatesOnPage)
	found := query.find(&view)
	page := overviewPage{Query: query, Summary: summarize(&view), Filters: filters(&view, query),
		Sinks: sinkRows(&view), Total: found.Total, Of: len(view.Certificates), Pager: newPager(found.Page, found.Pages, query.link),
		Changes: changeRows(view.Changes, changesOnPage, view.Time)}
	page.Alarms, page.More = alarms(&view)
	page.frame = p.frame(page.Summary.Title(), "./", &view)
	for _, c := range found.Certificates {
		page.Rows = append(page.Rows, newRow(c, view.Time))
	}
	p.write(w, http.StatusOK, "overview", page)
}

// certificatePage is the page of one certificate.
type certificatePage struct {
	frame
	Row      row
	Problem  string
	Failure  *failure
	Request  string
	Promises []promiseRow
	Total    int
	Pager    pager
	Changes  []changeRow
}

func (p *pages) certificate(w http.ResponseWriter, r *http.Request) {
	view := p.health.View(time.Now())
	c := named(&view, r.PathValue("name"))
	if c == nil {
		refuse(w, r, http.StatusNotFound, "no certificate of this name is declared: look for it at /")
		return
	}
	page := certificatePage{frame: p.frame(c.Name, "../", &view), Row: newRow(c, view.Time), Total: len(c.Promises),
		Failure: newFailure(c, view.Time), Changes: changesOf(c.Name, &view)}
	if page.Failure == nil {
		page.Problem = c.Problem
	}
	if c.Request != nil {
		page.Request = c.Request.Words(c.Version, view.Time)
	}
	sorted := byConcern(c.Promises)
	asked := ask(r.URL.Query(), promisesOnPage, promisesOnPage)
	number, count := pageOf(asked.Page, len(sorted), asked.Size)
	for _, promise := range sorted[(number-1)*asked.Size : min(number*asked.Size, len(sorted))] {
		page.Promises = append(page.Promises, newPromiseRow(promise, view.Time))
	}
	page.Pager = newPager(number, count, func(n int) string { return c.Name + pageQuery(n) })
	p.write(w, http.StatusOK, "certificate", page)
}

// named finds a certificate, or nil.
func named(view *reconcile.View, name string) *reconcile.CertificateView {
	for i := range view.Certificates {
		if view.Certificates[i].Name == name {
			return &view.Certificates[i]
		}
	}
	return nil
}

// write sends a page as a whole: one that cannot be made is not begun.
func (p *pages) write(w http.ResponseWriter, status int, name string, page any) {
	var text bytes.Buffer
	if err := p.templates.ExecuteTemplate(&text, name, page); err != nil {
		http.Error(w, "the page could not be made: "+err.Error(), http.StatusInternalServerError)
		return
	}
	head := w.Header()
	head.Set("Content-Type", "text/html; charset=utf-8")
	head.Set("Content-Security-Policy", policy)
	head.Set("Referrer-Policy", "no-referrer")
	head.Set("Cross-Origin-Resource-Policy", "same-origin")
	head.Set("Cross-Origin-Opener-Policy", "same-origin")
	w.WriteHeader(status)
	_, _ = w.Write(text.Bytes()) // who does not read on has gone
}
