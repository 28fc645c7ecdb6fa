//go:build linux

// Package page opens the status page in a real Chromium.
package page

import (
	"log/slog"
	"net"
	"testing"

	"github.com/anycert/anycert/internal/testenv/world"
	"github.com/anycert/anycert/internal/web"
	"github.com/anycert/anycert/internal/web/webtest"
	"github.com/anycert/anycert/reconcile"
)

func TestMain(m *testing.M) { world.Main(m) }

// serve serves a view on this machine until the test ends, by the server of the daemon.
func serve(t *testing.T, view reconcile.View) (url string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	log := slog.New(slog.DiscardHandler)
	server := web.NewServer(webtest.Fixed{Shown: view}, web.Build{Version: "v1.0.0"}, web.NewGate(listener.Addr(), web.Access{}, log), log)
	ended := make(chan struct{})
	go func() { defer close(ended); _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Close(); <-ended })
	return "http://" + listener.Addr().String()
}
