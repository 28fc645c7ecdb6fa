package kubernetes

import (
	"sync"
	"time"
)

// How much is told. A broken promise that is mended every minute is one Event an hour,
// which is counted up; ten thousand Secrets that are pushed at once are some of them.
const (
	voiceHour   = time.Hour        // for which one Event is made of one matter; Kubernetes keeps Events as long
	voiceRepeat = 10 * time.Minute // between two countings up of one Event, and two tries where the right is missing
	voiceBurst  = 50               // Events at once
	voiceEvery  = 5 * time.Second  // for one more
	voiceMost   = 1000             // matters that are remembered; the rest is told as if it were new
)

// voice bounds what a sink tells.
type voice struct {
	mu      sync.Mutex
	sayings map[string]saying
	silent  map[string]time.Time // by namespace: since when the right is known to be missing
	allowed map[string]time.Time // by namespace: since when it is known to be there
	spent   int                  // of the burst
	refill  time.Time
}

// saying is one matter: this Secret, this reason, this version.
type saying struct {
	first   time.Time // when it was told first
	written time.Time // when it was told or counted up last
	count   int       // how often it came up
}

// admit notes that something is to be told, and reports whether to write now: an Event
// where the saying's count is 1, a count where it is more.
func (v *voice) admit(namespace, about string, now time.Time) (saying, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.sayings == nil {
		v.sayings, v.silent, v.allowed = map[string]saying{}, map[string]time.Time{}, map[string]time.Time{}
	}
	if since, silent := v.silent[namespace]; silent && now.Sub(since) < voiceRepeat {
		return saying{}, false
	}
	s, known := v.sayings[about]
	if !known || now.Sub(s.first) >= voiceHour {
		s = saying{first: now}
	}
	s.count++
	write := (s.count == 1 || now.Sub(s.written) >= voiceRepeat) && v.spend(now)
	switch {
	case write:
		s.written = now
	case s.count == 1: // it was never told: the next time is the first
		return saying{}, false
	}
	v.keep(about, s, now)
	return s, write
}

// spend takes one from the burst.
func (v *voice) spend(now time.Time) bool {
	if back := int(now.Sub(v.refill) / voiceEvery); back > 0 {
		v.spent = max(0, v.spent-back)
		v.refill = now
	}
	if v.spent >= voiceBurst {
		return false
	}
	v.spent++
	return true
}

func (v *voice) keep(about string, s saying, now time.Time) {
	if len(v.sayings) >= voiceMost {
		for old, was := range v.sayings {
			if now.Sub(was.first) >= voiceHour {
				delete(v.sayings, old)
			}
		}
	}
	if len(v.sayings) < voiceMost {
		v.sayings[about] = s
	}
}

// forget has a matter told anew.
func (v *voice) forget(about string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.sayings, about)
}

// silence notes that the right is missing in a namespace.
func (v *voice) silence(namespace string, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.silent[namespace] = now
}

// mayTell reports whether the right is known to be there.
func (v *voice) mayTell(namespace string, now time.Time) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	since, known := v.allowed[namespace]
	return known && now.Sub(since) < voiceRepeat
}

// allow notes that the right is there.
func (v *voice) allow(namespace string, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.allowed[namespace] = now
}
