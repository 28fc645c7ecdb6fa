package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/reconcile"
	"github.com/anycert/anycert/store/storetest"
)

// site is a hub's alarms, a store, and receivers without sockets.
type site struct {
	t     *testing.T
	store *storetest.Memory
	loads int

	mu     sync.Mutex
	alarms map[string]reconcile.Alarm
	sealed error
	took   map[string][]Event // by receiver
	answer map[string]int
	tries  int
	log    syncBuffer
}

func newSite(t *testing.T) *site {
	s := &site{t: t, alarms: map[string]reconcile.Alarm{}, took: map[string][]Event{}, answer: map[string]int{}}
	s.store = &storetest.Memory{Fail: func(op storetest.Op, _ string) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if op == storetest.OpLoad {
			s.loads++
		}
		return s.sealed
	}}
	return s
}

func (s *site) on(key, cause string, severity reconcile.Severity) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.alarms[key] = reconcile.Alarm{Key: key, Kind: reconcile.RenewalAlarm, Severity: severity, Certificate: "shop", Owner: "web team", Text: cause, Cause: cause}
}

func (s *site) off(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.alarms, key)
}

func (s *site) seal(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sealed = err
}

func (s *site) answers(receiver string, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer[receiver] = status
}

func (s *site) list(time.Time) reconcile.Alarms {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all reconcile.Alarms
	for _, a := range s.alarms {
		all.On = append(all.On, a)
	}
	slices.SortFunc(all.On, func(a, b reconcile.Alarm) int { return strings.Compare(a.Key, b.Key) })
	return all
}

// RoundTrip is the other side of every webhook: the host is the receiver's name.
func (s *site) RoundTrip(r *http.Request) (*http.Response, error) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tries++
	status := s.answer[r.URL.Hostname()]
	if status == 0 {
		var e Event
		if err := json.Unmarshal(body, &e); err != nil {
			return nil, err
		}
		s.took[r.URL.Hostname()] = append(s.took[r.URL.Hostname()], e)
		status = http.StatusNoContent
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("an answer")), Request: r}, nil
}

func (s *site) setup(receivers ...string) Setup {
	setup := Setup{Owner: "prod", Records: s.store}
	for _, name := range receivers {
		receiver, err := Config{Name: name, Webhook: &Webhook{URL: URL{Plain: "https://" + name + "/x"}}}.Open(Env{Owner: "prod"})
		if err != nil {
			s.t.Fatal(err)
		}
		receiver.webhook.to.client.Transport = s
		setup.Receivers = append(setup.Receivers, receiver)
	}
	return setup
}

// start starts a daemon's notifier; stop ends it.
func (s *site) start(receivers ...string) (n *Notifier, stop func()) {
	ctx, cancel := context.WithCancel(s.t.Context())
	n = New(s.list, s.setup(receivers...), slog.New(slog.NewTextHandler(&s.log, nil)))
	ended := make(chan struct{})
	go func() { defer close(ended); n.Run(ctx) }()
	stopped := sync.OnceFunc(func() { cancel(); <-ended })
	s.t.Cleanup(stopped)
	return n, stopped
}

// told is what a receiver took: "start warning renewal/shop".
func (s *site) told(receiver string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lines []string
	for _, e := range s.took[receiver] {
		lines = append(lines, fmt.Sprint(e.Event, " ", e.Alarm.Severity, " ", e.Alarm.Key))
	}
	return lines
}

func (s *site) want(when, receiver string, lines ...string) {
	s.t.Helper()
	if got := s.told(receiver); !slices.Equal(got, lines) {
		s.t.Errorf("%s: %s was told %q, want %q", when, receiver, got, lines)
	}
}

func wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func bubble(t *testing.T, test func(*testing.T, *site)) {
	synctest.Test(t, func(t *testing.T) { test(t, newSite(t)) })
}

func TestStartChangeAndEndAreToldOnce(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		s.start("oncall")
		wait(time.Hour)
		s.want("while all is well", "oncall")
		s.on("renewal/shop", "the token was refused", reconcile.Warning)
		wait(2 * step)
		s.want("at the start", "oncall", "start warning renewal/shop")
		wait(time.Hour)
		s.want("an hour later", "oncall", "start warning renewal/shop")
		s.on("renewal/shop", "the CA answers 500", reconcile.Warning)
		wait(2 * step)
		s.on("renewal/shop", "the CA answers 500", reconcile.Critical)
		wait(2 * step)
		s.off("renewal/shop")
		wait(2 * step)
		want := []string{"start warning renewal/shop", "change warning renewal/shop", "change critical renewal/shop", "end critical renewal/shop"}
		s.want("at the end", "oncall", want...)

		written, read := s.store.Counts().Records, s.loads
		wait(24 * time.Hour)
		s.want("a day later", "oncall", want...)
		if got := s.store.Counts().Records - written; got != 0 {
			t.Errorf("a calm day takes %d writes", got)
		}
		if got := s.loads - read; got > 24*60 {
			t.Errorf("a calm day takes %d readings", got)
		}
		ids := map[string]bool{}
		for _, e := range s.took["oncall"] {
			ids[e.ID] = true
			if e.Alarm.Since.IsZero() || e.Alarm.Since != s.took["oncall"][0].Alarm.Since || e.Hub != "prod" || e.Alarm.Owner != "web team" {
				t.Errorf("%+v", e)
			}
		}
		if len(ids) != len(want) {
			t.Errorf("ids are not unique: %v", ids)
		}
	})
}

func TestARestartTellsTheEndOnce(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		_, stop := s.start("oncall")
		s.on("renewal/shop", "refused", reconcile.Warning)
		wait(2 * step)
		stop()
		_, stop = s.start("oncall")
		wait(10 * time.Minute)
		s.want("after a restart", "oncall", "start warning renewal/shop")
		stop()
		s.off("renewal/shop")
		s.start("oncall")
		wait(10 * time.Minute)
		s.want("mended while nobody ran", "oncall", "start warning renewal/shop", "end warning renewal/shop")
	})
}

func TestDaemonsOnOneStoreTellOnce(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		for range 3 {
			s.start("oncall", "chat")
		}
		for i := range 5 {
			key := fmt.Sprint("renewal/", i)
			s.on(key, "refused", reconcile.Warning)
			wait(time.Minute)
			s.off(key)
			wait(time.Minute)
		}
		for _, receiver := range []string{"oncall", "chat"} {
			if got := s.told(receiver); len(got) != 10 {
				t.Errorf("%s was told %q", receiver, got)
			}
		}
	})
}

// Whoever wrote down that an alarm began dies before it was sent: another process sends it.
func TestWhatWasNotSentIsTakenOver(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		s.answers("oncall", http.StatusBadGateway)
		_, stop := s.start("oncall")
		s.on("renewal/shop", "refused", reconcile.Warning)
		wait(2 * step)
		stop()
		s.answers("oncall", 0)
		s.start("oncall")
		wait(2*abandoned + rereading)
		s.want("after the death of the sender", "oncall", "start warning renewal/shop")
	})
}

// The store is away: what is told goes on, and is remembered when it is back.
func TestTheStoreIsAway(t *testing.T) {
	for name, before := range map[string]bool{"from the beginning": true, "later": false} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *site) {
				if before {
					s.seal(anycert.ErrUnavailable)
				}
				_, stop := s.start("oncall")
				wait(2 * step)
				s.seal(anycert.ErrUnavailable)
				s.on("store", "sealed", reconcile.Warning)
				s.on("renewal/shop", "refused", reconcile.Warning)
				wait(2 * step)
				s.want("while it is away", "oncall", "start warning renewal/shop", "start warning store")
				wait(time.Hour)
				s.seal(nil)
				wait(2 * time.Minute)
				s.off("store")
				wait(2 * time.Minute)
				want := []string{"start warning renewal/shop", "start warning store", "end warning store"}
				s.want("when it is back", "oncall", want...)
				stop()
				s.off("renewal/shop")
				s.start("oncall")
				wait(2 * time.Minute)
				s.want("after a restart", "oncall", append(want, "end warning renewal/shop")...)
			})
		})
	}
}

// A store that lets us read and not write is told once, and alarms go on.
func TestAStoreThatForbids(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		s.seal(anycert.ErrForbidden)
		s.start("oncall")
		s.on("renewal/shop", "refused", reconcile.Warning)
		wait(24 * time.Hour)
		s.want("a day later", "oncall", "start warning renewal/shop")
		if n := strings.Count(s.log.String(), "cannot be kept in the store"); n != 1 {
			t.Errorf("it is said %d times", n)
		}
	})
}

// What comes and goes, or has another reason each time, is told less and less often.
func TestWhatFlapsIsToldLess(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		s.start("oncall")
		for i := range 24 * 20 { // a day
			s.on("promise/prod/shop", "away", reconcile.Warning)
			s.on("renewal/shop", fmt.Sprint("reason ", i), reconcile.Warning)
			wait(90 * time.Second)
			s.off("promise/prod/shop")
			wait(90 * time.Second)
		}
		if n := len(s.told("oncall")); n < 5 || n > 60 {
			t.Errorf("a day of flapping is told %d times", n)
		}
		s.off("renewal/shop")
		wait(2 * time.Hour)
		if told := s.told("oncall"); !slices.Contains(told[len(told)-2:], "end warning promise/prod/shop") || !slices.Contains(told[len(told)-2:], "end warning renewal/shop") {
			t.Errorf("the end is not told: %q", told[len(told)-2:])
		}
	})
}

// A receiver that is dead delays no other, is tried less and less often for a day, and is
// said once.
func TestADeadReceiver(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		s.answers("dead", http.StatusServiceUnavailable)
		n, _ := s.start("dead", "oncall")
		s.on("renewal/shop", "refused", reconcile.Warning)
		wait(2 * step)
		s.want("beside a dead one", "oncall", "start warning renewal/shop")
		wait(12 * time.Hour)
		if lines := n.Problems(); len(lines) != 1 || !strings.Contains(lines[0], "receiver dead of alarms has taken nothing since") || !strings.Contains(lines[0], "503") {
			t.Errorf("%q", lines)
		}
		if got := strings.Count(s.log.String(), "do not reach"); got != 1 {
			t.Errorf("it is said %d times", got)
		}
		if s.tries > 30 {
			t.Errorf("%d attempts in 12 hours", s.tries)
		}
		written := s.store.Counts().Records
		wait(time.Hour)
		if got := s.store.Counts().Records - written; got > 3 {
			t.Errorf("an hour of waiting for it takes %d writes", got)
		}
		s.answers("dead", 0)
		wait(90 * time.Minute)
		s.want("alive again", "dead", "start warning renewal/shop")
		if lines := n.Problems(); len(lines) != 0 {
			t.Errorf("%q", lines)
		}
		if states := n.States(); states[0].Name != "dead" || states[0].Failing || states[0].Ended[reconcile.Success] != 1 || states[0].Ended[reconcile.Failure] < 5 {
			t.Errorf("%+v", states)
		}
		s.answers("dead", http.StatusServiceUnavailable)
		s.off("renewal/shop")
		wait(postageOfEnd + 3*time.Hour)
		if states := n.States(); states[0].Ended[reconcile.Dropped] != 1 || !strings.Contains(s.log.String(), "an alarm was not told") {
			t.Errorf("%+v", states)
		}
	})
}

// A receiver that was away for a week hears of what is on still, and of what has ended, but
// not of what has changed in between.
func TestAWeekWithoutAReceiver(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		_, stop := s.start("oncall")
		s.on("renewal/api", "refused", reconcile.Warning)
		wait(2 * step)
		s.answers("oncall", http.StatusBadGateway)
		s.on("renewal/shop", "refused", reconcile.Warning)
		s.off("renewal/api")
		wait(24 * time.Hour)
		s.on("renewal/shop", "expired", reconcile.Critical)
		wait(3 * 24 * time.Hour)
		stop()
		s.start("oncall") // another process sends it as well
		wait(3 * 24 * time.Hour)
		s.answers("oncall", 0)
		wait(3 * time.Hour)
		s.want("after a week", "oncall", "start warning renewal/api", "end warning renewal/api", "change critical renewal/shop")
	})
}

// Of more letters than fit the oldest are given up, but not the last words about what is on.
func TestCrowdedOutbox(t *testing.T) {
	l, now := newLedger(), time.Now()
	on := reconcile.Alarms{On: []reconcile.Alarm{{Key: "renewal/shop"}}}
	l.post(l.follow(on, map[string]time.Time{}, now), []string{"oncall"}, "me", now)
	for i := range crowded + 5 {
		l.post([]Event{{ID: fmt.Sprint(i), Event: Change, Time: now, Alarm: reconcile.Alarm{Key: "renewal/old"}}}, []string{"oncall"}, "me", now)
	}
	lost := l.tidy(now)
	if len(lost) != 6 || len(l.Outbox) != crowded || l.Outbox[0].Alarm.Key != "renewal/shop" || l.Outbox[1].ID != "6" {
		t.Errorf("%d are lost, %d stay, the first about %s and %s", len(lost), len(l.Outbox), l.Outbox[0].Alarm.Key, l.Outbox[1].ID)
	}
}

// So many alarms that no store would take their record are told as far as it does.
func TestManyAlarms(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		s.start("oncall")
		for i := range 2000 {
			s.on(fmt.Sprintf("renewal/c%04d", i), strings.Repeat("refused ", 80), reconcile.Warning)
		}
		s.on("renewal/zzz", "expired", reconcile.Critical)
		wait(5 * time.Minute)
		told := s.told("oncall")
		if len(told) != most+1 || !slices.Contains(told, "start critical renewal/zzz") || !slices.Contains(told, "start warning more") {
			t.Errorf("%d were told, the first %q", len(told), told[0])
		}
		value, _, err := s.store.Load(t.Context(), anycert.KindAlarm, "prod")
		if err != nil || len(value.Reveal()) > 700<<10 {
			t.Errorf("the record has %d bytes (%v)", len(value.Reveal()), err)
		}
	})
}

// A reload goes over to other receivers and forgets nothing.
func TestReload(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		n, _ := s.start("oncall")
		s.on("renewal/shop", "refused", reconcile.Warning)
		wait(2 * step)
		n.Reload(t.Context(), s.setup("chat"))
		s.off("renewal/shop")
		wait(2 * step)
		s.want("the old one", "oncall", "start warning renewal/shop")
		s.want("the new one", "chat", "end warning renewal/shop")
		if states := n.States(); len(states) != 1 || states[0].Name != "chat" {
			t.Errorf("%+v", states)
		}
	})
}

// What a later version wrote is left alone.
func TestARecordOfALaterVersion(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		const later = `{"schema":2,"alarms":{}}`
		if _, err := s.store.Save(t.Context(), anycert.KindAlarm, "prod", 0, anycert.NewSecret(later)); err != nil {
			t.Fatal(err)
		}
		s.start("oncall")
		s.on("renewal/shop", "refused", reconcile.Warning)
		wait(time.Hour)
		s.want("all the same", "oncall", "start warning renewal/shop")
		if value, _, err := s.store.Load(t.Context(), anycert.KindAlarm, "prod"); err != nil || value.Reveal() != later {
			t.Errorf("%s, %v", value.Reveal(), err)
		}
	})
}

// Without receivers the store is left alone.
func TestNobodyIsTold(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		s.start()
		s.on("renewal/shop", "refused", reconcile.Warning)
		wait(time.Hour)
		if s.loads != 0 || s.store.Counts().Records != 0 {
			t.Errorf("%d readings, %d writes", s.loads, s.store.Counts().Records)
		}
	})
}

func TestPauses(t *testing.T) {
	var pauses []time.Duration
	for i := range 8 {
		pauses = append(pauses, pauseAfter(i+1, errors.New("x")))
	}
	if want := []time.Duration{5 * time.Second, 20 * time.Second, 80 * time.Second, 320 * time.Second, 1280 * time.Second, time.Hour, time.Hour, time.Hour}; !slices.Equal(pauses, want) {
		t.Errorf("%v", pauses)
	}
	if got := pauseAfter(1, refusal{503, 10 * time.Minute}); got != 10*time.Minute {
		t.Errorf("Retry-After is not heeded: %s", got)
	}
}

// syncBuffer is a buffer for logs of many goroutines.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
