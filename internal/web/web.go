// Package web serves what a daemon tells about itself over HTTP: health checks, metrics for
// Prometheus, and for people a status page, which is there as JSON as well. Nothing can be
// changed here, and nothing that is secret is known here.
package web

//go:generate go run ./gen ../../docs/metrics.md

import (
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/anycert/anycert/reconcile"
)

// Health is what is known about a daemon; a [reconcile.Health] knows most of it. Its methods
// may be called by several goroutines.
type Health interface {
	Live(now time.Time) error     // why the process is to be restarted, or nil
	Ready(now time.Time) []string // a line for each thing that somebody has to look at
	Snapshot() reconcile.Snapshot // for those who count
	View(now time.Time) reconcile.View
}

// NewServer makes the server of a daemon; whoever has a listener lets it serve. No peer
// can hold it up: reading and writing have their time-outs, and a header its bound.
func NewServer(health Health, build Build, gate *Gate, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           Handler(health, build, gate),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// scrapers is how many may be answered with metrics at once: with 10,000 certificates each
// costs 60 MiB for a moment.
const scrapers = 2

// Handler answers GET and HEAD:
//
//	/              the status page, and /certificates/NAME
//	/api/v1/       the same as JSON
//	/health/live   (/healthz)  200 while the loop turns: else restart the process
//	/health/ready  (/readyz)   200 while the promises are kept: else look, do not restart
//	/metrics       for Prometheus
//
// The gate is before the first two. Cloud Run keeps some paths that end in z for itself, so
// these are the aliases.
func Handler(health Health, build Build, gate *Gate) http.Handler {
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
	mux.Handle("GET /metrics", promhttp.HandlerFor(NewRegistry(health.Snapshot, build),
		promhttp.HandlerOpts{MaxRequestsInFlight: scrapers}))
	people := http.NewServeMux()
	newPages(health, build).register(people)
	api{health, build}.register(people)
	mux.Handle("GET /", gate.guard(people))
	return plain(mux)
}

// plain keeps browsers and proxies from making anything else of an answer than it is.
func plain(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}

const text = "text/plain; charset=utf-8"

// answer is "ok", or 503 with a line for each thing that is not.
func answer(w http.ResponseWriter, problems []string) {
	w.Header().Set("Content-Type", text)
	if len(problems) == 0 {
		fmt.Fprintln(w, "ok")
		return
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	for _, problem := range problems {
		fmt.Fprintln(w, reconcile.Clean(problem))
	}
}
