package web

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/anycert/anycert/reconcile"
)

// query is what somebody wants to see of the certificates. Its zero value is all of them,
// the most urgent first.
type query struct {
	Text  string // words, each of which is found in something about a certificate
	State reconcile.State
	Sink  string
	Sort  string
	Page  int // from 1
	Size  int // of a page
}

// The orders of certificates.
const (
	byUrgency = "urgency"
	byName    = "name"
	byExpiry  = "expiry"
)

// maxText bounds a search, in bytes: more is no search.
const maxText = 200

// ask reads a query. What is no such thing is left out: a link that somebody kept goes on
// working.
func ask(values url.Values, size, most int) query {
	q := query{Sink: values.Get("sink"), Sort: byUrgency, Page: 1, Size: size}
	if text := strings.TrimSpace(values.Get("q")); len(text) <= maxText {
		q.Text = text
	}
	if state := reconcile.State(values.Get("state")); slices.Contains(reconcile.States(), state) {
		q.State = state
	}
	if sort := values.Get("sort"); sort == byName || sort == byExpiry {
		q.Sort = sort
	}
	if page, err := strconv.Atoi(values.Get("page")); err == nil && page > 0 {
		q.Page = page
	}
	if n, err := strconv.Atoi(values.Get("size")); err == nil && n > 0 {
		q.Size = min(n, most)
	}
	return q
}

// mistaken says what of a query is no such thing, or "". Scripts are told: one that asks for
// a state that there is not would take all certificates for those in it.
func mistaken(values url.Values, view *reconcile.View) string {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		value := values.Get(name)
		number, err := strconv.Atoi(value)
		switch {
		case !slices.Contains([]string{"q", "state", "sink", "sort", "page", "size"}, name):
			return fmt.Sprintf("there is no parameter %.30q: there is q, state, sink, sort, page and size", name)
		case value == "":
		case name == "q" && len(value) > maxText:
			return fmt.Sprintf("q is longer than %d bytes", maxText)
		case name == "state" && !slices.Contains(reconcile.States(), reconcile.State(value)):
			return fmt.Sprintf("%.30q is not a state of certificates: use one of %s, %s, %s, %s", value, reconcile.Failing, reconcile.Pending, reconcile.Well, reconcile.Suspended)
		case name == "sort" && value != byUrgency && value != byName && value != byExpiry:
			return fmt.Sprintf("%.30q is not an order: use one of %s, %s, %s", value, byUrgency, byExpiry, byName)
		case name == "sink" && !slices.ContainsFunc(view.Sinks, func(s reconcile.SinkView) bool { return s.Name == value }):
			return fmt.Sprintf("no sink is named %.80q: /api/v1/status lists them", value)
		case (name == "page" || name == "size") && (err != nil || number < 1):
			return fmt.Sprintf("%s is a number from 1, and not %.30q", name, value)
		}
	}
	return ""
}

// link is the query as a relative URL, of another page of it.
func (q query) link(page int) string {
	values := make(url.Values)
	set := func(name, value, usual string) {
		if value != usual {
			values.Set(name, value)
		}
	}
	set("q", q.Text, "")
	set("state", string(q.State), "")
	set("sink", q.Sink, "")
	set("sort", q.Sort, byUrgency)
	set("page", strconv.Itoa(page), "1")
	if len(values) == 0 {
		return "./"
	}
	return "./?" + values.Encode()
}

// found is a page of certificates.
type found struct {
	Certificates []*reconcile.CertificateView
	Total        int // on all pages
	Page, Pages  int
}

// find answers a query. A page after the last is the last.
func (q query) find(view *reconcile.View) found {
	var all []*reconcile.CertificateView
	words := strings.Fields(strings.ToLower(q.Text))
	for i := range view.Certificates {
		if c := &view.Certificates[i]; q.wants(c) && matches(c, words) {
			all = append(all, c)
		}
	}
	slices.SortStableFunc(all, q.order(view.Time))
	f := found{Total: len(all)}
	f.Page, f.Pages = pageOf(q.Page, len(all), q.Size)
	f.Certificates = all[(f.Page-1)*q.Size : min(f.Page*q.Size, len(all))]
	return f
}

func (q query) wants(c *reconcile.CertificateView) bool {
	if q.State != "" && c.State != q.State {
		return false
	}
	return q.Sink == "" || slices.Contains(c.Unseen, q.Sink) ||
		slices.ContainsFunc(c.Promises, func(p reconcile.PromiseView) bool { return p.Sink == q.Sink })
}

// order compares two certificates.
func (q query) order(now time.Time) func(a, b *reconcile.CertificateView) int {
	names := func(a, b *reconcile.CertificateView) int { return cmp.Compare(a.Name, b.Name) }
	expiries := func(a, b *reconcile.CertificateView) int { return expiry(a, now).Compare(expiry(b, now)) }
	switch q.Sort {
	case byName:
		return names
	case byExpiry:
		return func(a, b *reconcile.CertificateView) int { return cmp.Or(expiries(a, b), names(a, b)) }
	}
	states := reconcile.States()
	return func(a, b *reconcile.CertificateView) int {
		return cmp.Or(cmp.Compare(slices.Index(states, a.State), slices.Index(states, b.State)), expiries(a, b), names(a, b))
	}
}

// expiry is when a certificate expires; where there is none, nothing can.
func expiry(c *reconcile.CertificateView, now time.Time) time.Time {
	if c.NotAfter == nil {
		return now.AddDate(1000, 0, 0)
	}
	return *c.NotAfter
}

// matches reports whether each of the words, in small letters, is in something that is
// shown of a certificate. A host name is also found in the wildcard that covers it.
func matches(c *reconcile.CertificateView, words []string) bool {
	return !slices.ContainsFunc(words, func(word string) bool {
		if mentions(c, word) {
			return false
		}
		_, parent, host := strings.Cut(word, ".")
		return !host || !strings.Contains(parent, ".") || !slices.Contains(c.Domains, "*."+parent)
	})
}

func mentions(c *reconcile.CertificateView, word string) bool {
	in := func(texts ...string) bool {
		return slices.ContainsFunc(texts, func(text string) bool { return containsFold(text, word) })
	}
	if in(c.Name, c.Owner, c.Description, c.Issuer, c.Problem, string(c.State)) || in(c.Domains...) || c.Failure != nil && in(c.Failure.Text) {
		return true
	}
	return slices.ContainsFunc(c.Promises, func(p reconcile.PromiseView) bool {
		return in(p.Sink, p.Type, p.Target, string(p.Verdict), p.Reason)
	})
}

// containsFold reports whether text contains a word, which is in small letters. It makes
// no copies: a search looks at a hundred thousand texts.
func containsFold(text, word string) bool {
	if word == "" {
		return true
	}
	first := word[0]
	for i := 0; i+len(word) <= len(text); i++ {
		c := text[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if (c == first || c >= utf8.RuneSelf) && strings.EqualFold(text[i:i+len(word)], word) {
			return true
		}
	}
	return false
}
