//go:build linux

package page

import (
	"bytes"
	"flag"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/anycert/anycert/internal/web/webtest"
)

var write = flag.Bool("write", false, "write the pictures in docs/images anew")

// pictures are those of the README and the docs.
var pictures = []struct {
	name          string
	page          string
	width, height int
	phone         bool
	colours       string
}{
	{"status-light.png", "/", 1200, 1180, false, "light"},
	{"status-dark.png", "/", 1200, 1180, false, "dark"},
	{"status-phone-light.png", "/", 390, 1100, true, "light"},
	{"status-phone-dark.png", "/", 390, 1100, true, "dark"},
	{"certificate-light.png", "/certificates/shop", 1200, 900, false, "light"},
	{"certificate-dark.png", "/certificates/mail", 1200, 900, false, "dark"},
}

// The pictures are of the page as it is now: with -write they are taken anew. Fonts and
// versions of Chromium differ between machines, so that only their sizes are compared, and
// that nothing of the page is wider than its screen.
func TestPictures(t *testing.T) {
	url := serve(t, webtest.Example())
	b := open(t)
	for _, p := range pictures {
		b.size(p.width, p.height, p.phone)
		b.prefers(p.colours)
		b.visit(url + p.page)
		var wide int
		b.eval("document.documentElement.scrollWidth", &wide)
		if wide > p.width {
			t.Errorf("%s: the page is %d wide", p.name, wide)
		}
		taken := b.shot(p.width, p.height)
		path := filepath.Join("..", "..", "..", "docs", "images", p.name)
		if *write {
			must(t, os.MkdirAll(filepath.Dir(path), 0o755))
			must(t, os.WriteFile(path, taken, 0o644))
		}
		kept, err := os.ReadFile(path)
		must(t, err)
		picture, err := png.DecodeConfig(bytes.NewReader(kept))
		must(t, err)
		if picture.Width != p.width || picture.Height != p.height || len(kept) > 250<<10 {
			t.Errorf("%s is %d x %d, %d bytes: take it anew with go test ./internal/e2e/page -run Pictures -write", p.name, picture.Width, picture.Height, len(kept))
		}
		if light := lightness(t, taken); light != (p.colours == "light") {
			t.Errorf("%s is not %s", p.name, p.colours)
		}
	}
}

// lightness reports whether the corner of a picture is light.
func lightness(t *testing.T, picture []byte) bool {
	t.Helper()
	decoded, err := png.Decode(bytes.NewReader(picture))
	must(t, err)
	r, g, b, _ := decoded.At(2, 2).RGBA()
	return (r+g+b)/3 > 0x8000
}
