package dns01

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

func TestPropagationWords(t *testing.T) {
	for word, says := range map[Propagation]string{
		"": "", Authoritative: "", Recursive: "", ByResolvers: "", Unchecked: "", Wait(0): "", Wait(90 * time.Second): "",
		"sometimes": `"sometimes" is none of authoritative, recursive and {wait: DURATION}`, "wait: long": `"long" is no time to wait: write it as 90s or 2m`,
		Wait(-time.Second): "a wait of -1s is not between 0s and 1h0m0s", Wait(2 * time.Hour): "a wait of 2h0m0s is not",
	} {
		if err := word.Check(); (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", string(word), err, says)
		}
	}
}

// TestWaitAsksNobody: the resolver of this watch would panic.
func TestWaitAsksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		w := watch{who: Wait(90 * time.Second), timeout: time.Second, interval: time.Second}
		if err := w.wait(t.Context(), place1, []string{"one"}); err != nil || time.Since(begin) != 90*time.Second {
			t.Errorf("after %s: %v", time.Since(begin), err)
		}
	})
}

// TestResolversForget: what they were made to remember, they are given time to forget.
func TestResolversForget(t *testing.T) {
	var a absences
	now := time.Now()
	reply := new(dns.Msg)
	a.note(place1, reply, now)
	if left := a.left(place1, now); left != 0 {
		t.Errorf("an answer without a SOA record is remembered for %s", left)
	}
	reply.Ns = []dns.RR{&dns.SOA{Hdr: dns.RR_Header{Ttl: 300}, Minttl: 900}}
	a.note("_ACME-challenge.example.com", reply, now)
	for after, want := range map[time.Duration]time.Duration{0: 5 * time.Minute, time.Minute: 4 * time.Minute, time.Hour: 0} {
		if left := a.left(place1, now.Add(after)); left != want {
			t.Errorf("after %s it is remembered for %s, want %s", after, left, want)
		}
	}
	reply.Answer = []dns.RR{&dns.TXT{}}
	a.note("www.example.com.", reply, now)
	if left := a.left("www.example.com.", now); left != 0 {
		t.Errorf("what is there is forgotten after %s", left)
	}
}
