package fastlytest

import (
	"context"
	"net/http"
	"time"
)

// faults are what goes wrong on demand.
type faults struct {
	echo, forbid, drop bool
	hanging            chan struct{} // closed when it ends; nil when nothing hangs
	nextAnswer         *answer       // instead of the next answer
	failIn, loseIn     int           // writes until one fails; 0: none
}

// fault is what goes wrong with one request.
type fault struct {
	drop    bool
	instead *answer // not carried out
	lost    *answer // carried out, and answered so
}

func (f *faults) next(request Request) fault {
	result := fault{drop: f.drop}
	if f.nextAnswer != nil {
		result.instead, f.nextAnswer = f.nextAnswer, nil
	}
	if !request.IsWrite() {
		return result
	}
	broken := refuse(http.StatusInternalServerError, "Internal server error", "Try again later")
	if count(&f.failIn) {
		result.instead = &broken
	}
	if count(&f.loseIn) {
		result.lost = &broken
	}
	return result
}

// count counts down to nothing and reports when it gets there.
func count(n *int) bool {
	if *n == 0 {
		return false
	}
	*n--
	return *n == 0
}

// FailNext answers the next request with status and body, and does nothing else.
func (s *Server) FailNext(status int, body string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.nextAnswer = &answer{status, body}
}

// FailWrite answers the nth write from now (1: the next one) with 500, and does
// nothing else; 0 calls it off.
func (s *Server) FailWrite(nth int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.failIn = nth
}

// LoseWrite carries the nth write from now out and answers it with 500; 0 calls it
// off.
func (s *Server) LoseWrite(nth int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.loseIn = nth
}

// Echo makes every refusal repeat the request with its headers.
func (s *Server) Echo(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.echo = on
}

// Forbid denies everything with 403.
func (s *Server) Forbid(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.forbid = on
}

// Drop cuts every connection without an answer.
func (s *Server) Drop(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.drop = on
}

// Hang leaves every request without an answer until it is called off.
func (s *Server) Hang(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case on && s.faults.hanging == nil:
		s.faults.hanging = make(chan struct{})
	case !on && s.faults.hanging != nil:
		close(s.faults.hanging)
		s.faults.hanging = nil
	}
}

func (s *Server) wait(ctx context.Context) {
	s.mu.Lock()
	hanging := s.faults.hanging
	s.mu.Unlock()
	if hanging == nil {
		return
	}
	select {
	case <-hanging:
	case <-ctx.Done():
	}
}

// LimitWrites sets how many writes are left until reset.
func (s *Server) LimitWrites(remaining int, reset time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remaining, s.reset = remaining, reset
}
