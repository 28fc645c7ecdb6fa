package reconcile

import "time"

// standing is how often in a row something was seen ill, or well. Not both are above
// zero.
type standing struct {
	ill, well int
	since     time.Time // of the first of these times
	text      string    // what was wrong the last time
}

// saw takes note of one more look.
func (s *standing) saw(err error, at time.Time) {
	if err != nil {
		s.text = err.Error()
	}
	if before := s.ill > 0; s.ill+s.well == 0 || before != (err != nil) {
		s.since, s.ill, s.well = at, 0, 0
	}
	if err != nil {
		s.ill++
		return
	}
	s.well++
}
