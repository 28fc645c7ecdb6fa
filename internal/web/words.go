package web

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// stamp is a moment for people, in UTC as everything that anycert says.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") + " UTC" }

// day is the date alone.
func day(t time.Time) string { return t.UTC().Format("2006-01-02") }

// machine is a moment for the attribute datetime.
func machine(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// span is a duration in the one unit that people think in: "4 minutes".
func span(d time.Duration) string {
	d = d.Abs()
	switch {
	case d >= 48*time.Hour:
		return plural(int(d.Hours()/24), "day")
	case d >= 2*time.Hour:
		return plural(int(d.Hours()), "hour")
	case d >= 2*time.Minute:
		return plural(int(d.Minutes()), "minute")
	}
	return plural(int(d.Seconds()), "second")
}

// ago is a span that has passed.
func ago(d time.Duration) string {
	if d < 2*time.Second {
		return "just now"
	}
	return span(d) + " ago"
}

// distance is how far away a moment is: "in 4 days", "4 days ago".
func distance(d time.Duration) string {
	if d < 0 {
		return ago(-d)
	}
	return "in " + span(d)
}

// short is how long something took.
func short(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// number has a comma after each thousand.
func number(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// plural is "1 pass", "2 passes".
func plural(n int, word string) string {
	switch {
	case n == 1:
	case strings.HasSuffix(word, "s"):
		word += "es"
	default:
		word += "s"
	}
	return number(n) + " " + word
}

func verb(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
