package kubernetes

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/anycert/anycert"
)

// A promise that is broken and mended every minute makes one Event an hour, and is
// counted up in it.
func TestVoiceAggregates(t *testing.T) {
	var v voice
	begin := time.Now()
	var created, counted, last int
	for minute := range 120 {
		said, write := v.admit("web", "web/example-tls Mended 3", begin.Add(time.Duration(minute)*time.Minute))
		switch {
		case write && said.count == 1:
			created++
		case write:
			counted++
			last = said.count
		}
	}
	if created != 2 || counted != 10 || last != 51 {
		t.Errorf("%d Events, counted up %d times to %d; want 2, 10 times to 51", created, counted, last)
	}
}

// Ten thousand Secrets that are pushed at once are fifty Events, and then one each five
// seconds; and no more than a thousand matters are remembered.
func TestVoiceIsBounded(t *testing.T) {
	var v voice
	begin := time.Now()
	tell := func(from int, at time.Time) (written int) {
		for i := range 10_000 {
			if _, write := v.admit("web", fmt.Sprint(from+i), at); write {
				written++
			}
		}
		return written
	}
	if n := tell(0, begin); n != voiceBurst {
		t.Errorf("%d Events at once", n)
	}
	if n := tell(10_000, begin.Add(time.Minute)); n != 12 {
		t.Errorf("%d Events in the minute after, want 12", n)
	}
	for i := range 10_000 {
		v.admit("web", fmt.Sprint("later ", i), begin.Add(time.Minute*time.Duration(i)/100))
	}
	if len(v.sayings) > voiceMost {
		t.Errorf("%d matters are remembered", len(v.sayings))
	}
}

func TestVoiceIsSilentWithoutTheRight(t *testing.T) {
	var v voice
	now := time.Now()
	v.admit("web", "a", now)
	v.silence("web", now)
	if _, write := v.admit("web", "b", now.Add(9*time.Minute)); write {
		t.Error("it was tried again after nine minutes")
	}
	if _, write := v.admit("api", "c", now); !write {
		t.Error("another namespace was silenced with it")
	}
	if _, write := v.admit("web", "d", now.Add(11*time.Minute)); !write {
		t.Error("it was not tried again after eleven minutes")
	}
}

func TestNote(t *testing.T) {
	got := note("example", anycert.Event{Kind: anycert.Held, Version: 3, Reason: "a\nb\x1b[31m\xff" + strings.Repeat("€", 1000)})
	if !strings.HasPrefix(got, "version 3 of certificate example is not pushed: a b [31m") || len(got) > maxNote || !strings.HasSuffix(got, "€…") {
		t.Errorf("%d bytes: %.80q", len(got), got)
	}
}
