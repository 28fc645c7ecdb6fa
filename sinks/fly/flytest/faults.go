package flytest

import "net/http"

// faults is what goes wrong on purpose.
type faults struct {
	failWrite int           // the write that fails, counted from now; 0: none
	status    int           // of the write that fails
	all       int           // every request is answered with this status; 0: none
	echo      bool          // errors repeat the request's body
	hang      chan struct{} // requests wait until it is closed
}

// FailWrite makes the nth import from now fail with status, once; n = 0 calls it
// off. Mind that flaps repeats a request three times after 502 and 503.
func (s *Server) FailWrite(n, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.failWrite, s.faults.status = n, status
}

// FailAll answers every request with status, until FailAll(0).
func (s *Server) FailAll(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.all = status
}

// Echo makes every error repeat the body of the request, as careless servers do.
func (s *Server) Echo(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.echo = on
}

// Hang accepts requests and does not answer them, until Hang(false).
func (s *Server) Hang(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.faults.hang != nil {
		close(s.faults.hang)
		s.faults.hang = nil
	}
	if on {
		s.faults.hang = make(chan struct{})
	}
}

// inject answers in the place of the API when a fault is on. It reports whether it
// did.
func (s *Server) inject(w http.ResponseWriter, r *http.Request, action action, body []byte) bool {
	s.mu.Lock()
	hang := s.faults.hang
	s.mu.Unlock()
	if hang != nil {
		select {
		case <-hang:
		case <-r.Context().Done():
		}
		send(w, http.StatusServiceUnavailable, apiError{"hung"})
		return true
	}
	if status := s.failing(action); status != 0 {
		send(w, status, apiError{"something went wrong" + s.echo(body)})
		return true
	}
	return false
}

// failing is the status with which a request is to fail, or 0.
func (s *Server) failing(action action) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	status := s.faults.all
	if action.write && s.faults.failWrite > 0 {
		if s.faults.failWrite--; s.faults.failWrite == 0 {
			status = s.faults.status
		}
	}
	if status != 0 {
		s.requests[action.name]++
	}
	return status
}

func (s *Server) echo(body []byte) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.faults.echo {
		return ""
	}
	return ": " + string(body)
}
