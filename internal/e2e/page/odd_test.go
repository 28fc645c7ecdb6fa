//go:build linux

package page

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/anycert/anycert/internal/web/webtest"
)

var odd = flag.String("odd", "", "a folder for pictures of odd hubs")

// Hubs that a page is seldom made for: each says what is so and what to do, and neither a
// long name nor a long word makes it wider than the screen.
func TestOddHubs(t *testing.T) {
	says := map[string]map[string]string{
		"empty":  {"/": "No certificate is declared"},
		"begins": {"/": "Nothing has been looked at yet", "/certificates/example": "No pass has ended yet at prod-eu, edge"},
		"long":   {"/": "1 of 1 certificate needs attention", "/certificates/" + strings.Repeat("a", 63): "and so on"},
		"sealed": {"/": "Vault is sealed: unseal it", "/certificates/first": "nothing is there"},
		"canary": {"/": "canary prod-eu has version 15", "/certificates/example": "canary prod-eu has version 15"},
		"brake":  {"/": "run `anycert sync --yes`", "/certificates/shop": "brake: 12 of 20"},
	}
	b := open(t)
	for name, view := range webtest.Odd() {
		url := serve(t, view)
		for page, text := range says[name] {
			for _, phone := range []bool{false, true} {
				width := map[bool]int{false: 1200, true: 360}[phone]
				b.size(width, 800, phone)
				b.prefers(map[bool]string{false: "light", true: "dark"}[phone])
				b.visit(url + page)
				if shown := b.text(); !strings.Contains(shown, text) {
					t.Errorf("%s, %s: it does not say %q:\n%s", name, page, text, shown)
				}
				var wide int
				b.eval("Math.max(document.documentElement.scrollWidth, ...[...document.querySelectorAll('main *')].filter(e => !e.closest('svg, .hide')).map(e => Math.ceil(e.getBoundingClientRect().right)))", &wide)
				if wide > width {
					t.Errorf("%s, %s: it is %d wide on a screen of %d", name, page, wide, width)
				}
				if name == "canary" { // the one with a box of its own colour
					var pale []string
					if b.eval(contrasts, &pale); len(pale) > 0 {
						t.Errorf("%s, %s: hard to read: %s", name, page, strings.Join(pale, "; "))
					}
				}
				if *odd != "" {
					var height int
					b.eval("document.documentElement.scrollHeight", &height)
					file := name + map[bool]string{false: "", true: "-phone"}[phone] + map[bool]string{false: "-certificate", true: ""}[page == "/"] + ".png"
					must(t, os.WriteFile(filepath.Join(*odd, file), b.shot(width, min(height, 1400)), 0o644))
				}
			}
		}
	}
}
