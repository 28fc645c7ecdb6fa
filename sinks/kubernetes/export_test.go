package kubernetes

import "time"

// Later is as if what a sink told last was longer ago.
func (s *Sink) Later(by time.Duration) {
	s.voice.mu.Lock()
	defer s.voice.mu.Unlock()
	for about, said := range s.voice.sayings {
		said.written = said.written.Add(-by)
		s.voice.sayings[about] = said
	}
}
