package issuer

import (
	"errors"
	"testing"
	"time"

	"github.com/anycert/anycert"
)

func keptOutlook(t *testing.T, i *Issuer) (string, int) {
	t.Helper()
	text, version, err := i.records.Load(t.Context(), anycert.KindRenewal, "site")
	if err != nil {
		t.Fatal(err)
	}
	return text.Reveal(), version
}

func keepOutlook(t *testing.T, i *Issuer, text string) {
	t.Helper()
	if _, err := i.records.Save(t.Context(), anycert.KindRenewal, "site", 0, anycert.NewSecret(text)); err != nil {
		t.Fatal(err)
	}
}

func TestOutlookOfANewerSchemaIsLeftAlone(t *testing.T) {
	i := advised(t, nil, nil)
	const text = `{"schema":99,"future":true}`
	keepOutlook(t, i, text)
	err := i.Recall(t.Context(), []anycert.Wanted{{Certificate: site}}, true)
	if err == nil {
		t.Error("nobody is told")
	}
	if _, err := i.amend(t.Context(), "site", 0, func(o *outlook) bool { o.Failures = map[string]failure{}; return true }); err == nil {
		t.Error("it was written")
	}
	if got, version := keptOutlook(t, i); got != text || version != 1 {
		t.Errorf("version %d is %s", version, got)
	}
}

// TestMalformedOutlookIsWrittenAnew: no certificate expires for a hint that is broken.
func TestMalformedOutlookIsWrittenAnew(t *testing.T) {
	i := advised(t, nil, nil)
	keepOutlook(t, i, `{"schema": hunter2`)
	if err := i.Recall(t.Context(), []anycert.Wanted{{Certificate: site}}, true); !errors.Is(err, anycert.ErrMalformed) {
		t.Errorf("got %v", err)
	}
	if _, err := i.amend(t.Context(), "site", 0, func(o *outlook) bool { o.Failures = map[string]failure{}; return true }); err != nil {
		t.Error(err)
	}
	if got, version := keptOutlook(t, i); got != `{"schema":1}` || version != 2 {
		t.Errorf("version %d is %s", version, got)
	}
}

// TestAmendHeedsOthers: what another process wrote between the reading and the writing
// is not lost.
func TestAmendHeedsOthers(t *testing.T) {
	i := advised(t, nil, nil)
	tries := 0
	_, err := i.amend(t.Context(), "site", 0, func(o *outlook) bool {
		if tries++; tries == 1 {
			keepOutlook(t, i, `{"schema":1,"advice":{"about":"a.b","next":"2026-11-01T12:00:00Z"}}`)
		}
		o.Failures = map[string]failure{"main": {Text: "it failed"}}
		return true
	})
	if err != nil || tries != 2 {
		t.Fatalf("after %d tries: %v", tries, err)
	}
	if known, _ := i.outlooks.get("site"); known.Advice == nil || known.Advice.About != "a.b" || known.Failures["main"].Text != "it failed" {
		t.Errorf("it is %+v", known.outlook)
	}
}

func TestTurn(t *testing.T) {
	const day = 24 * time.Hour
	entry := issued(t, 90*day)
	i := advised(t, nil, nil)
	c := site
	c.Fallbacks = []string{"second"}
	config := func(name string) string { return fingerprint(i.configs[name], i.cas[name].wants(c)) }
	at := noon.Add(80 * day) // ten days are left: patience is a day
	down := func(since, next time.Duration) failure {
		return failure{Class: anycert.OfCA, Down: at.Add(-since), Since: at.Add(-since), Last: at.Add(-time.Minute), Next: at.Add(next), Config: config("main"), Version: 1}
	}
	other := func(f failure) failure { f.Config = config("second"); return f }
	mend := down(2*day, time.Hour)
	mend.Class, mend.Down = anycert.ToMend, time.Time{}
	changed := down(time.Hour, time.Hour)
	changed.Config = "of before"
	stale := down(time.Hour, time.Hour)
	stale.Version = 7
	tests := []struct {
		name     string
		failures map[string]failure
		turn     string
		until    time.Duration // 0: now
	}{
		{"nothing failed", nil, "main", 0},
		{"it has just failed", map[string]failure{"main": down(time.Hour, 10*time.Minute)}, "main", 10 * time.Minute},
		{"its pause is over", map[string]failure{"main": down(time.Hour, -time.Second)}, "main", 0},
		{"it has failed for more than a tenth of what was left", map[string]failure{"main": down(26*time.Hour, time.Hour)}, "second", 0},
		{"and its pause is over", map[string]failure{"main": down(26*time.Hour, -time.Second)}, "main", 0},
		{"a person must mend something", map[string]failure{"main": mend}, "main", time.Hour},
		{"both have failed", map[string]failure{"main": down(26*time.Hour, time.Hour), "second": other(down(25*time.Hour, 20*time.Minute))}, "second", 20 * time.Minute},
		{"the second waits for longer", map[string]failure{"main": down(26*time.Hour, time.Hour), "second": other(down(25*time.Hour, 2*time.Hour))}, "main", time.Hour},
		{"the configuration changed", map[string]failure{"main": changed}, "main", 0},
		{"it was about another version", map[string]failure{"main": stale}, "main", 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, until := i.turn(c, entry, outlook{Failures: test.failures}, at)
			want := time.Time{}
			if test.until != 0 {
				want = at.Add(test.until)
			}
			if got.Name != test.turn || !until.Equal(want) {
				t.Errorf("it is the turn of %s at %s, want %s at %s", got.Name, until, test.turn, want)
			}
		})
	}
}

func TestPatience(t *testing.T) {
	const day = 24 * time.Hour
	entry := issued(t, 90*day)
	tests := []struct {
		name       string
		entry      *anycert.Entry
		began, now time.Duration
		want       time.Duration
	}{
		{"nothing issued", nil, 0, 0, 30 * time.Minute},
		{"30 days left", entry, 60 * day, 60 * day, day},
		{"5 days left", entry, 85 * day, 86 * day, 12 * time.Hour},
		{"expired since", entry, 85 * day, 91 * day, 10 * time.Minute},
		{"expired before", entry, 91 * day, 91 * day, 10 * time.Minute},
		{"of five minutes, half left", issued(t, 5*time.Minute), 150 * time.Second, 160 * time.Second, 15 * time.Second},
	}
	for _, test := range tests {
		if got := patience(test.entry, noon.Add(test.began), noon.Add(test.now)); got != test.want {
			t.Errorf("%s: it is %s, want %s", test.name, got, test.want)
		}
	}
}

// TestFailureIsTold by all processes that read the record, while it is about what the
// store has.
func TestFailureIsTold(t *testing.T) {
	const day = 24 * time.Hour
	entry := issued(t, 90*day)
	i := advised(t, nil, nil)
	config := fingerprint(i.configs["main"], i.cas["main"].wants(site))
	at := noon.Add(61 * day)
	f := failure{}.again(&caError{theirs: true, error: errors.New("connection refused")}, config, situation{entry: entry, now: at})
	if _, err := i.amend(t.Context(), "site", 1, func(o *outlook) bool { o.Failures = map[string]failure{"main": f}; return true }); err != nil {
		t.Fatal(err)
	}
	other := advised(t, nil, nil)
	other.records = i.records
	if err := other.Recall(t.Context(), []anycert.Wanted{{Certificate: site, Entry: entry}}, false); err != nil {
		t.Fatal(err)
	}
	got := other.Renewal(site, entry, at.Add(time.Second)).Failure
	if got == nil || got.Class != anycert.OfCA || got.Issuer != "main" || got.Text != "connection refused" || got.Attempts != 1 || !got.Next.Equal(f.Next) {
		t.Fatalf("it is told as %+v", got)
	}
	if told := other.Renewal(site, entry, noon.Add(day)).Failure; told != nil {
		t.Errorf("a certificate that is not due failed: %+v", told)
	}
	newer := *entry
	newer.Version = 2
	if told := other.Renewal(site, &newer, at.Add(time.Second)).Failure; told != nil {
		t.Errorf("somebody else has renewed it: %+v", told)
	}
}
