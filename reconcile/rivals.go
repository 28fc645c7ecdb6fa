package reconcile

import (
	"fmt"
	"sync"
	"time"
)

// rivalry is how long a change by someone else is remembered.
const rivalry = time.Hour

// rivals notices who keeps changing a target back: pushing every minute against
// another controller helps nobody, and both look healthy from their own side.
type rivals struct {
	mu   sync.Mutex
	seen map[string]rival
}

type rival struct {
	writer string
	times  int
	last   time.Time
}

// name adds to the reason of each promise that the same writer broke before, within
// the hour, who that is.
func (r *rivals) name(promises []Promise, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen == nil {
		r.seen = make(map[string]rival)
	}
	for i := range promises {
		p := &promises[i]
		writer := p.sighting.observed.Writer
		if p.Action == None || writer == "" || !p.sighting.observed.Found {
			continue
		}
		last := r.seen[p.Key]
		if last.writer != writer || now.Sub(last.last) > rivalry {
			last = rival{writer: writer}
		}
		last.times, last.last = last.times+1, now
		r.seen[p.Key] = last
		if last.times > 1 {
			p.contested = writer
			p.Reason += fmt.Sprintf("; contested by %s, %d times within the hour: let one of the two go", writer, last.times)
		}
	}
}
