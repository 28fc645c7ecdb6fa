package acmeserver

import (
	"bytes"
	"encoding/pem"
	"net/http"
)

// LoseIntermediates has the server answer with leaves alone from now on, as a CA does
// whose chain was set up wrongly, also for what it issued before; false ends that.
func (s *Server) LoseIntermediates(on bool) { s.leavesAlone.Store(on) }

// leafWriter keeps the answer with a chain, to give the first certificate of it alone.
type leafWriter struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (w *leafWriter) WriteHeader(status int) { w.status = status }

func (w *leafWriter) Write(text []byte) (int, error) { return w.body.Write(text) }

// end sends what was kept.
func (w *leafWriter) end() {
	text := w.body.Bytes()
	if leaf, _ := pem.Decode(text); leaf != nil {
		text = pem.EncodeToMemory(leaf)
	}
	if w.status != 0 {
		w.ResponseWriter.WriteHeader(w.status)
	}
	_, _ = w.ResponseWriter.Write(text)
}
