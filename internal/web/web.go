// Package web serves what a daemon tells about itself over HTTP.
package web

import (
	"fmt"
	"net/http"
	"time"

	"github.com/anycert/anycert/reconcile"
)

// Handler answers health checks:
//
//	/health/live  (/healthz)  200 while the loop turns: else restart the process
//	/health/ready (/readyz)   200 while the promises are kept: else look, do not restart
//
// Cloud Run keeps some paths that end in z for itself, so these are the aliases.
func Handler(health *reconcile.Health) http.Handler {
	live := func(w http.ResponseWriter, _ *http.Request) {
		if err := health.Live(time.Now()); err != nil {
			answer(w, []string{err.Error()})
			return
		}
		answer(w, nil)
	}
	ready := func(w http.ResponseWriter, _ *http.Request) { answer(w, health.Ready(time.Now())) }
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health/live", live)
	mux.HandleFunc("GET /healthz", live)
	mux.HandleFunc("GET /health/ready", ready)
	mux.HandleFunc("GET /readyz", ready)
	return mux
}

// answer is "ok", or 503 with a line for each thing that is not.
func answer(w http.ResponseWriter, problems []string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if len(problems) == 0 {
		fmt.Fprintln(w, "ok")
		return
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	for _, problem := range problems {
		fmt.Fprintln(w, reconcile.Clean(problem))
	}
}
