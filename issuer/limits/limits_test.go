package limits

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

var begin = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

func TestRegistered(t *testing.T) {
	for name, want := range map[string]string{
		"example.com": "example.com", "www.example.com": "example.com", "*.example.com": "example.com",
		"new.blog.example.co.uk": "example.co.uk", "a.b.github.io": "b.github.io", "github.io": "github.io", "WWW.Example.COM.": "example.com",
	} {
		if got := Registered(name); got != want {
			t.Errorf("%s is registered as %s, want %s", name, got, want)
		}
	}
}

func TestParseLimit(t *testing.T) {
	for text, want := range map[string]Limit{
		"50 in 7d": {50, 7 * day}, "300 in 3h": {300, 3 * time.Hour}, "5 in 1h": {5, time.Hour}, "2 in 90s": {2, 90 * time.Second}, "none": {},
	} {
		got, err := ParseLimit(text)
		if err != nil || got != want {
			t.Errorf("%q is %v, %v", text, got, err)
		}
		if again, err := ParseLimit(got.String()); err != nil || again != got {
			t.Errorf("%v is written as %s, and read as %v, %v", got, got, again, err)
		}
	}
	for _, text := range []string{"", "50", "50/7d", "0 in 7d", "-1 in 7d", "x in 7d", "50 in 0s", "50 in week", "50 in 400d", "50 in 99999999999999d"} {
		if got, err := ParseLimit(text); err == nil {
			t.Errorf("%q is read as %v", text, got)
		}
	}
}

func TestConfig(t *testing.T) {
	const le, private = "https://acme-v02.api.letsencrypt.org/directory", "https://ca.example.com/directory"
	raised := LetsEncrypt()
	raised.Domain = Limit{500, 7 * day}
	for _, test := range []struct {
		config    Config
		directory string
		want      Table
	}{
		{Config{}, le, LetsEncrypt()},
		{Config{}, private, Table{}},
		{Config{Like: "none"}, le, Table{}},
		{Config{Like: "letsencrypt"}, private, LetsEncrypt()},
		{Config{Domain: "500 in 7d"}, le, raised},
		{Config{Domain: "500 in 7d"}, private, Table{Domain: Limit{500, 7 * day}}},
		{Config{Like: "letsencrypt", Domain: "500 in 7d"}, private, raised},
	} {
		if got := test.config.Table(test.directory); got != test.want {
			t.Errorf("%+v at %s gives %+v", test.config, test.directory, got)
		}
		if problems := test.config.Check(); len(problems) > 0 {
			t.Errorf("%+v: %v", test.config, problems)
		}
	}
	problems := Config{Like: "google", Orders: "many"}.Check()
	if len(problems) != 2 || problems[0].Field != "" || problems[1].Field != "orders" {
		t.Errorf("the problems are %v", problems)
	}
}

func order(n int, exempt Exemption) Order {
	return Order{Certificate: fmt.Sprint("c", n), Names: []string{fmt.Sprintf("h%d.example.com", n)}, Exempt: exempt}
}

// taken makes orders until one has to wait.
func taken(b *Budget, o func(n int) Order, now time.Time) (int, *Wait) {
	for n := range 1000 {
		order := o(n)
		if wait := b.Take(LetsEncrypt(), order, now); wait != nil {
			return n, wait
		}
		b.Issued(LetsEncrypt(), order, now)
	}
	return 1000, nil
}

func TestEachLimit(t *testing.T) {
	urgent := func(o Order) Order { o.Urgent = true; return o }
	same := func(n int) Order { return Order{Certificate: fmt.Sprint(n), Names: []string{"www.example.com"}} }
	far := func(n int) Order {
		return Order{Certificate: fmt.Sprint(n), Names: []string{fmt.Sprintf("example%d.com", n)}}
	}
	for name, test := range map[string]struct {
		order func(n int) Order
		most  int
		says  string
	}{
		"a domain":             {func(n int) Order { return order(n, Counted) }, 45, "50 certificates for example.com in 7 days"},
		"a domain, urgent":     {func(n int) Order { return urgent(order(n, Counted)) }, 50, "50 certificates for example.com in 7 days"},
		"an exact set":         {same, 4, "5 certificates for exactly these names in 7 days"},
		"an exact set, urgent": {func(n int) Order { return urgent(same(n)) }, 5, "5 certificates for exactly these names in 7 days"},
		"an account":           {far, 269, "300 new orders in 3 hours"},
		"renewals":             {func(n int) Order { return order(n, Renewed) }, 1000, ""},
		"advised renewals":     {func(int) Order { return order(1, Advised) }, 1000, ""},
		"renewals of a set":    {func(int) Order { return order(1, Renewed) }, 4, "exactly these names"},
	} {
		got, wait := taken(new(Budget), test.order, begin)
		if got != test.most {
			t.Errorf("%s: %d orders, want %d", name, got, test.most)
		}
		if wait != nil && !strings.Contains(wait.String(), test.says) || (wait == nil) != (test.says == "") {
			t.Errorf("%s: waits for %v", name, wait)
		}
	}
}

func TestRefills(t *testing.T) {
	b := new(Budget)
	each := func(n int) Order { return order(n, Counted) }
	taken(b, each, begin)
	now := begin
	next := 100
	for range 20 {
		wait := b.Look(LetsEncrypt(), each(next), now)
		if wait == nil {
			t.Fatal("there is no wait")
		}
		if b.Look(LetsEncrypt(), each(next), wait.Until.Add(-time.Second)) == nil {
			t.Error("it could have begun earlier than it was told")
		}
		if again := b.Take(LetsEncrypt(), each(next), wait.Until); again != nil {
			t.Fatalf("it waits again, for %v", again)
		}
		b.Issued(LetsEncrypt(), each(next), wait.Until)
		if gap := wait.Until.Sub(now); gap != 202*time.Minute-24*time.Second {
			t.Errorf("a token came back after %s", gap)
		}
		now = wait.Until
		next++
	}
}

func TestGivenBack(t *testing.T) {
	b := new(Budget)
	for n := range 200 {
		if wait := b.Take(LetsEncrypt(), order(n, Counted), begin); wait != nil {
			t.Fatalf("order %d: %v", n, wait)
		}
		b.GiveBack(order(n, Counted))
	}
	for range 60 { // crashes: the same order is begun again and again
		if wait := b.Take(LetsEncrypt(), order(1, Counted), begin); wait != nil {
			t.Fatal(wait)
		}
	}
	if got, _ := taken(b, func(n int) Order { return order(1000+n, Counted) }, begin); got != 9 {
		t.Errorf("%d more are made, want 9 (300, less 260, the share of the urgent and the CA's latency): new orders are never given back", got)
	}
}

// Orders under way may all fail, or all be issued, before anybody hears of one.
func TestUnderWay(t *testing.T) {
	b := new(Budget)
	same := func(n int) Order {
		return Order{Certificate: fmt.Sprint(n), Names: []string{"www.example.com", fmt.Sprintf("h%d.example.com", n)}}
	}
	begun := 0
	for b.Take(LetsEncrypt(), same(begun), begin) == nil {
		begun++
	}
	if begun != 4 {
		t.Errorf("%d orders are under way that could all fail for one name, want 4", begun)
	}
	later := begin.Add(held)
	if wait := b.Take(LetsEncrypt(), same(9), later); wait != nil {
		t.Errorf("orders that nobody ended hold their tokens after a week: %v", wait)
	}
}

func TestFailures(t *testing.T) {
	b := new(Budget)
	for range 50 { // more than there are tokens: it is never more than empty
		b.Failed(LetsEncrypt(), []string{"*.example.com"}, begin)
	}
	o := Order{Certificate: "site", Names: []string{"example.com"}, Exempt: Advised}
	wait := b.Look(LetsEncrypt(), o, begin)
	if wait == nil || !strings.Contains(wait.String(), "5 failed validations of example.com in 1 hour") {
		t.Fatalf("waits for %v", wait)
	}
	if got := wait.Until.Sub(begin); got != 24*time.Minute {
		t.Errorf("waits %s, want two tokens", got)
	}
}

func TestRefused(t *testing.T) {
	o := Order{Certificate: "site", Names: []string{"www.example.com", "example.org"}}
	for said, want := range map[string]string{
		`too many certificates (50) already issued for "example.org" in the last 168h0m0s, retry after 2026`:                keyDomain + "example.org",
		`too many certificates (5) already issued for this exact set of identifiers in the last 168h0m0s, retry after 2026`: setKey(o.Names),
		`too many failed authorizations (5) for "www.example.com" in the last 1h0m0s, retry after 2026`:                     keyFailures + "www.example.com",
		`too many new orders (300) from this account in the last 3h0m0s, retry after 2026`:                                  keyOrders,
		`too many certificates (50) already issued for "example.net" in the last 168h0m0s`:                                  keyCertificate + "site",
		`slow down`: keyCertificate + "site",
	} {
		if got := LetsEncrypt().Refused(o, said); got != want {
			t.Errorf("%q blocks %s, want %s", said, got, want)
		}
	}
}

func TestBlocks(t *testing.T) {
	b := new(Budget)
	b.Block(domainKey("example.com"), begin.Add(time.Hour), begin, "too many")
	b.Block(domainKey("example.com"), begin.Add(time.Minute), begin, "an earlier end changes nothing")
	for _, test := range []struct {
		names  string
		exempt Exemption
		table  Table
		waits  bool
	}{
		{"www.example.com", Counted, LetsEncrypt(), true},
		{"www.example.com", Renewed, LetsEncrypt(), false},
		{"www.example.com", Advised, LetsEncrypt(), false},
		{"www.example.com", Advised, Table{}, true}, // of a CA that is not known
		{"www.example.org", Counted, LetsEncrypt(), false},
	} {
		o := Order{Certificate: "site", Names: []string{test.names}, Exempt: test.exempt}
		wait := b.Look(test.table, o, begin)
		if (wait != nil) != test.waits || wait != nil && (!wait.Until.Equal(begin.Add(time.Hour)) || !wait.Asked) {
			t.Errorf("%+v: waits for %v", test, wait)
		}
	}
	b.Block(Everything, begin.Add(1000*day), begin, "go away")
	if wait := b.Look(LetsEncrypt(), order(1, Advised), begin); wait == nil || wait.Until.Sub(begin) != longest {
		t.Errorf("a CA's wait of years is %v", wait)
	}
}

// A clock that was years ahead must not lock anything out once it is mended.
func TestClockThatGoesBack(t *testing.T) {
	b := new(Budget)
	wrong := begin.AddDate(10, 0, 0)
	taken(b, func(n int) Order { return order(n, Counted) }, wrong)
	b.Take(LetsEncrypt(), Order{Certificate: "held", Names: []string{"held.example.com"}}, wrong)
	b.Block(Everything, wrong.Add(time.Hour), wrong, "wait")

	b = again(t, b)
	if !b.Tidy(LetsEncrypt(), begin) {
		t.Error("what is to be kept is not told")
	}
	if b.Tidy(LetsEncrypt(), begin) {
		t.Error("it is mended twice")
	}
	b = again(t, b)
	if wait := b.Look(LetsEncrypt(), order(1, Counted), begin.Add(7*day+time.Minute)); wait != nil {
		t.Errorf("it is locked out until %s", wait.Until)
	}
}

func again(t *testing.T, b *Budget) *Budget {
	t.Helper()
	text, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	read := new(Budget)
	if err := json.Unmarshal(text, read); err != nil {
		t.Fatal(err)
	}
	return read
}

func TestFullBucketsAreNotKept(t *testing.T) {
	b := new(Budget)
	taken(b, func(n int) Order { return order(n, Counted) }, begin)
	b.Tidy(LetsEncrypt(), begin.Add(8*day))
	if text, _ := json.Marshal(b); string(text) != "{}" {
		t.Errorf("kept is %s", text)
	}
	if err := json.Unmarshal([]byte(`{"buckets":{"orders":"a secret"}}`), b); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("what is not readable is %v", err)
	}
}

// TestSilent: since when a CA asks for no orders at all, as long as it issues nothing.
func TestSilent(t *testing.T) {
	b, table := new(Budget), LetsEncrypt()
	at := func(d time.Duration) time.Time { return begin.Add(d) }
	want := func(now time.Duration, since, until time.Time) {
		t.Helper()
		gotSince, gotUntil := b.Silent(at(now))
		if !gotSince.Equal(since) || !gotUntil.Equal(until) {
			t.Errorf("after %s it is silent from %s to %s, want %s to %s", now, gotSince, gotUntil, since, until)
		}
	}
	want(0, time.Time{}, time.Time{})
	b.Block(Everything, at(time.Hour), at(0), "busy")
	want(time.Minute, begin, at(time.Hour))
	want(time.Hour, begin, time.Time{}) // it may be asked
	b.Tidy(table, at(time.Hour))
	b.Block(Everything, at(2*time.Hour), at(61*time.Minute), "busy still")
	want(90*time.Minute, begin, at(2*time.Hour))
	if wait := b.Look(table, order(1, Counted), at(2*time.Hour)); wait != nil {
		t.Errorf("it is still waited for: %v", wait)
	}
	b.Issued(table, order(1, Counted), at(2*time.Hour))
	want(2*time.Hour, time.Time{}, time.Time{})
	b.Block(Everything, at(4*time.Hour), at(3*time.Hour), "busy again")
	want(3*time.Hour, at(3*time.Hour), at(4*time.Hour))
	b.Tidy(table, at(4*time.Hour+remembered))
	want(4*time.Hour+remembered, time.Time{}, time.Time{})
}

// A limit that is raised leaves more at once, also for who reads what was kept under the
// lower one; one that is lowered leaves less.
func TestChangedLimits(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	low, high := Table{Set: Limit{2, 7 * day}}, Table{Set: Limit{500, 7 * day}}
	order := Order{Certificate: "example", Names: []string{"example.com"}}
	var b Budget
	for range 2 {
		if wait := b.Take(low, order, now); wait != nil {
			t.Fatal(wait)
		}
		b.Issued(low, order, now)
	}
	if b.Look(low, order, now) == nil {
		t.Fatal("a third certificate under a limit of two")
	}
	text, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	var read Budget
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	if wait := read.Look(high, order, now); wait != nil {
		t.Errorf("two of 500 are taken, and it waits until %v", wait.Until)
	}
	if read.Look(low, order, now) == nil {
		t.Error("the limit was lowered again, and what was taken is forgotten")
	}
}
