package web_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/web/webtest"
	"github.com/anycert/anycert/reconcile"
)

// order is the names of the certificates on a page, in their order.
func order(page string) (names []string) {
	for _, part := range strings.Split(page, `<a href="certificates/`)[1:] {
		name, _, _ := strings.Cut(part, `"`)
		names = append(names, name)
	}
	return names
}

func TestSearchFilterSort(t *testing.T) {
	handler := handler(webtest.Fixed{Shown: webtest.Example()})
	tests := map[string]string{
		"":                              "shop mail example status internal docs legacy",
		"sort=name":                     "docs example internal legacy mail shop status",
		"sort=expiry":                   "internal shop mail example docs status legacy",
		"sort=nonsense":                 "shop mail example status internal docs legacy",
		"state=failing":                 "shop mail example",
		"state=waiting":                 "status",
		"state=suspended":               "legacy",
		"state=nonsense":                "shop mail example status internal docs legacy",
		"sink=edge":                     "shop example",
		"sink=nonsense":                 "",
		"q=SHOP":                        "shop",
		"q=web+team":                    "example docs",
		"q=permission+denied":           "mail",
		"q=activated":                   "status",
		"q=fastly":                      "shop example",
		"q=fastly+failing":              "shop example",
		"q=nothing.example.net":         "",
		"q=any.internal.example.com":    "internal",
		"q=a.b.internal.example.com":    "",
		"q=" + url.QueryEscape("<b>"):   "",
		"state=well&sort=name&q=e":      "docs internal",
		"q=" + strings.Repeat("a", 300): "shop mail example status internal docs legacy",
	}
	for query, want := range tests {
		code, _, body := ask(t, handler, "GET", "/?"+query)
		if got := strings.Join(order(body), " "); code != 200 || got != want {
			t.Errorf("%s: %d %q, want %q", query, code, got, want)
		}
		if strings.Contains(body, "<b>\"") || strings.Contains(body, "value=\"<b>") {
			t.Errorf("%s: what was asked for is not escaped", query)
		}
	}
}

// Every certificate is on one page, and on no other.
func TestPages(t *testing.T) {
	handler := handler(webtest.Fixed{Shown: webtest.Many(200)})
	seen := make(map[string]int)
	for page := 1; page <= 5; page++ {
		_, _, body := ask(t, handler, "GET", fmt.Sprintf("/?page=%d", page))
		for _, name := range order(body) {
			seen[name] = page
		}
		if !strings.Contains(body, fmt.Sprintf("Page %d of 5", page)) {
			t.Errorf("page %d does not say so", page)
		}
	}
	if len(seen) != 207 {
		t.Errorf("%d certificates were shown", len(seen))
	}
	for _, wrong := range []string{"0", "-1", "x", "6", "99999999999999999999"} {
		if _, _, body := ask(t, handler, "GET", "/?page="+wrong); len(order(body)) == 0 {
			t.Errorf("page %s shows nothing", wrong)
		}
	}
}

// What is to be told of one certificate is on its page, in words.
func TestCertificatePage(t *testing.T) {
	handler := handler(webtest.Fixed{Shown: webtest.Example()})
	tests := map[string][]string{
		"shop": {"shop team", "letsencrypt", "<dd>6</dd>", "pay.example.com", "cdn.shop.example.com", "allow letsencrypt.org there", "It fails until somebody mends this",
			"3 attempts", "It is tried again in 4 hours", "renewal window from 2026-03-13 06:41 UTC", "Lifetime from 2026-01-12 to 2026-04-12: 71 % has passed", "order failed"},
		"mail":    {"unknown", "for 3 hours", "/etc/ssl/anycert/mail", "fra-2 · file", "run anycert as the user that owns it", "compared byte by byte", "looked at 36 seconds ago"},
		"example": {"seen by serial only", "another certificate is there: CN=api.example.com", "on the wire: behind", "192.0.2.7", "it has activated nothing"},
		"legacy":  {"suspended", "It belongs to no sink"},
	}
	for name, texts := range tests {
		code, _, body := ask(t, handler, "GET", "/certificates/"+name)
		for _, text := range texts {
			if !strings.Contains(body, text) {
				t.Errorf("%s (%d) does not say %q", name, code, text)
			}
		}
	}
	if code, _, body := ask(t, handler, "GET", "/certificates/none"); code != 404 || !strings.Contains(body, "no certificate of this name") {
		t.Errorf("%d %s", code, body)
	}
}

// A certificate that is kept everywhere fails where the world is served something else: the
// counts say so, a sink from where it is does not look well, and kept is not written in red.
func TestTheWireIsCounted(t *testing.T) {
	handler := handler(webtest.Fixed{Shown: webtest.Example()})
	_, _, body := ask(t, handler, "GET", "/")
	for _, want := range []string{"15 promises: 13 kept, 1 waiting, 1 unknown; on the wire: 1 behind.", `<span class="quiet">8 kept; on the wire: 1 behind</span>`,
		`<i class="dot failing"></i><span>3 kept; on the wire: 1 behind</span>`, `<b class="word well">kept</b>`, `<b class="word failing">on the wire: behind</b>`} {
		if !strings.Contains(body, want) {
			t.Errorf("it does not say %s", want)
		}
	}
	_, _, body = ask(t, handler, "GET", "/certificates/example")
	if strings.Contains(body, `<i class="dot failing"></i><span>kept</span>`) || !strings.Contains(body, `<i class="dot failing"></i><span>on the wire: behind</span>`) {
		t.Error(body)
	}
}

// What comes from elsewhere is text, and nothing is asked of anybody else.
func TestPageIsInert(t *testing.T) {
	view := webtest.Example()
	const evil = `<script>alert(1)</script><img src=x onerror=alert(1)>" onclick="x`
	c := &view.Certificates[0]
	c.Description, c.Owner, c.Problem, c.Domains, c.State = evil, evil, evil, []string{evil}, reconcile.Failing
	c.Failure = &reconcile.FailureStatus{Class: anycert.Passing, Text: evil}
	for i := range c.Promises {
		c.Promises[i].Target, c.Promises[i].Reason, c.Promises[i].Verdict = evil, evil, reconcile.Broken
	}
	view.Alarms = append(view.Alarms, reconcile.Alarm{Text: evil, Owner: evil, Severity: reconcile.Critical})
	view.Changes = append(view.Changes, reconcile.Change{Certificate: c.Name, What: evil, Why: evil, Target: evil, Sink: evil})
	handler := handler(webtest.Fixed{Shown: view})
	for _, page := range []string{"/", "/certificates/" + c.Name, "/?q=" + url.QueryEscape(evil)} {
		_, header, body := ask(t, handler, "GET", page)
		for _, wrong := range []string{"<script>", "<img", `" onclick=`, "style=", "http://", "https://"} {
			if strings.Contains(body, wrong) {
				t.Errorf("%s has %s", page, wrong)
			}
		}
		policy := header.Get("Content-Security-Policy")
		if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") || header.Get("Set-Cookie") != "" ||
			header.Get("Referrer-Policy") != "no-referrer" || header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v", page, header)
		}
	}
}

// With nothing declared, nothing looked at, or all well, the page says so.
func TestWholes(t *testing.T) {
	nothing := reconcile.View{Time: webtest.Now, Owner: "hub"}
	new := webtest.Example()
	new.Looked, new.Certificates, new.Changes, new.Alarms = time.Time{}, new.Certificates[4:5], nil, nil
	new.Certificates[0].State, new.Certificates[0].Unseen, new.Certificates[0].Promises = reconcile.Pending, []string{"prod-eu"}, nil
	well := webtest.Example()
	well.Certificates = well.Certificates[4:5]
	for text, view := range map[string]reconcile.View{"No certificate is declared": nothing, "Nothing has been looked at yet": new, "Every promise is kept": well} {
		if _, _, body := ask(t, handler(webtest.Fixed{Shown: view}), "GET", "/"); !strings.Contains(body, ">"+text+"<") {
			t.Errorf("it does not say %q: %s", text, body)
		}
	}
}

// 10,000 promises: the page is made in a fraction of what a person notices, and is small.
// The bounds are wide; what the browser takes is measured by internal/e2e/page.
func TestManyPromises(t *testing.T) {
	handler := handler(webtest.Fixed{Shown: webtest.Many(10_000)})
	for _, page := range []string{"/", "/?q=customer-09999", "/?sort=expiry&page=150", "/?q=nothing+at+all", "/api/v1/certificates?size=1000"} {
		begun := time.Now()
		_, _, body := ask(t, handler, "GET", page)
		t.Logf("%s: %d bytes in %s", page, len(body), time.Since(begun))
		if len(body) > 2<<20 || !strings.HasPrefix(page, "/api") && len(body) > 256<<10 {
			t.Errorf("%s has %d bytes", page, len(body))
		}
		if took := time.Since(begun); took > 2*time.Second {
			t.Errorf("%s took %s", page, took)
		}
	}
}
