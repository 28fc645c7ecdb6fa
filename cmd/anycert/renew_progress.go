package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/term"

	"github.com/anycert/anycert/reconcile"
)

// progress shows how far the renewals have come: as a bar in the last line of a terminal,
// as lines elsewhere. What is logged meanwhile goes through it, and so stands above the
// bar.
type progress struct {
	out   io.Writer
	width func() int // columns of the terminal; nil: there is none

	mu   sync.Mutex
	bar  string            // as it is drawn; empty: none is
	said map[string]string // by certificate
}

// progress shows what is told on stderr, and takes over what else goes there.
func (a *app) progress() *progress {
	p := &progress{out: a.errOut, said: map[string]string{}}
	if file, ok := a.errOut.(*os.File); ok && term.IsTerminal(int(file.Fd())) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" {
		p.width = func() int {
			columns, _, err := term.GetSize(int(file.Fd()))
			if err != nil || columns == 0 { // it does not know
				return 80
			}
			return columns
		}
	}
	a.errOut = p
	return p
}

// Write puts text above the bar.
func (p *progress) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	bar := p.bar
	p.draw("")
	n, err := p.out.Write(text)
	p.draw(bar)
	return n, err
}

// told shows how far all have come.
func (p *progress) told(all []reconcile.Renewed) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.width != nil {
		p.draw(bar(all, p.width()))
		return
	}
	for _, r := range all {
		if words := r.Words(); p.said[r.Name] != words {
			p.said[r.Name] = words
			renewed, _ := reconcile.Renewing(all)
			fmt.Fprintf(p.out, "[%d/%d] %s: %s\n", renewed, len(all), r.Name, reconcile.Clean(words))
		}
	}
}

// end takes the bar away.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.draw("")
}

// draw puts a bar into the place of the one that is drawn.
func (p *progress) draw(bar string) {
	if bar == p.bar {
		return
	}
	p.bar = bar
	fmt.Fprint(p.out, "\r\x1b[K"+bar)
}

// bar fits into so many columns: "[######......] 6 of 12 certificates renewed, …".
func bar(all []reconcile.Renewed, columns int) string {
	text := reconcile.RenewedSummary(all)
	columns-- // a terminal breaks the line when its last column is written to
	room := columns - len(text) - 3
	if room < 10 {
		return text[:min(len(text), max(columns, 0))]
	}
	renewed, done := reconcile.Renewing(all)
	room = min(room, 40)
	full := room * (renewed + done) / max(2*len(all), 1)
	return "[" + strings.Repeat("#", full) + strings.Repeat(".", room-full) + "] " + text
}
