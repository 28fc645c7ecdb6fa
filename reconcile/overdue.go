package reconcile

import (
	"errors"
	"fmt"
	"time"

	"github.com/anycert/anycert"
)

// overdue names the certificates that were never obtained and cannot be, and those
// whose renewal has been due for a quarter of the time that was left then, with the
// last failure: long before they expire, somebody has to look.
func (h *Hub) overdue(truth Truth, now time.Time) []string {
	var lines []string
	for _, c := range h.Certificates {
		known := truth[c.Name]
		if h.Issuer == nil || !orderable(c, known) {
			continue
		}
		renewal := h.Issuer.Renewal(c, known.Entry, now)
		why := ""
		err := h.failure(c.Name, renewal)
		if err != nil {
			why = ": " + err.Error()
		} else if slot, waits := h.orders.waiting(c.Name); waits {
			why = ": " + waitsFor(slot)
		}
		if known.Entry == nil {
			if err != nil {
				lines = append(lines, fmt.Sprintf("certificate %s: it could not be obtained yet%s", c.Name, why))
			}
			continue
		}
		end := known.Entry.Leaf.NotAfter
		if now.After(end) {
			lines = append(lines, fmt.Sprintf("certificate %s: it expired at %s, and was not renewed%s", c.Name, stamp(end), why))
			continue
		}
		if renewal.Due(now) && now.Sub(renewal.At) > end.Sub(renewal.At)/4 {
			lines = append(lines, fmt.Sprintf("certificate %s: its renewal is due since %s, and it expires at %s%s", c.Name, stamp(renewal.At), stamp(end), why))
		}
	}
	return lines
}

// unlessAbsent leaves out the absence of what nobody has put there yet: that is
// waiting, not a failure.
func unlessAbsent(err error) error {
	if errors.Is(err, anycert.ErrNotFound) {
		return nil
	}
	return err
}

// failure is why the last order of a certificate failed: in this process, or else in
// whichever the store remembers it of.
func (h *Hub) failure(name string, renewal anycert.Renewal) error {
	if err := h.orders.failure(name); err != nil {
		return err
	}
	if renewal.Failure != nil {
		return failedError{*renewal.Failure}
	}
	return nil
}

// failedError is a failure as the store remembers it, for people.
type failedError struct{ anycert.Failure }

func (e failedError) Error() string {
	attempts := "one attempt"
	if e.Attempts > 1 {
		attempts = fmt.Sprintf("%d attempts, the last one at %s", e.Attempts, stamp(e.Last))
	}
	text := fmt.Sprintf("it could not be obtained since %s (%s): %s", stamp(e.Since), attempts, e.Text)
	switch {
	case e.Next.IsZero():
		return text
	case e.Class == anycert.ToMend:
		return text + fmt.Sprintf("; this does not pass by itself: mend it, then it is tried again by `anycert renew`, when the configuration changes, or at %s", stamp(e.Next))
	}
	return text + "; it is tried again at " + stamp(e.Next)
}

// waitsFor tells until when the CA's limits hold an order back.
func waitsFor(slot anycert.Slot) string {
	return "waits until " + stamp(slot.At) + ": " + slot.Reason
}
