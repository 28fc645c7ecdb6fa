package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/anycert/anycert/internal/config"
	"github.com/anycert/anycert/internal/web"
	"github.com/anycert/anycert/reconcile"
)

func (a *app) runCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "run",
		Short: "Issue and reconcile until SIGTERM",
		Long: `Obtain what is due and make every place agree with the store, at once and then on
the schedule, until SIGTERM or SIGINT; it ends within 10 seconds.

SIGHUP reads the configuration again: a good one takes over between two passes, a
wrong one is reported and the last good one stays in force.

GET /health/live tells whether the loop turns, /health/ready whether the promises
are kept. Only the first is a reason to restart it.

Exit code: 0 it was asked to end and did; 1 it could not start.`,
		Example: `  anycert run
  anycert run --config /etc/anycert/config.yaml
  anycert run --log-format json --log-level warn`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := a.logger()
			if err != nil {
				return err
			}
			graph, err := a.open()
			if err != nil {
				return err
			}
			return a.daemon(cmd.Context(), graph, log)
		},
	}
}

// daemon runs the loop, its reloads and its health page.
func (a *app) daemon(ctx context.Context, graph *config.Graph, log *slog.Logger) error {
	if graph.Trial {
		log.Warn("the store is a local file: this is for trying it out, use Vault for what matters")
	}
	defer func() { a.close(graph) }() // the one in force at the end
	loop := reconcile.NewLoop(reconcile.New(graph.Parts(), log), graph.Schedule)
	listener, err := net.Listen("tcp", graph.Listen)
	if err != nil {
		return fmt.Errorf("listening for health checks: %w: change http.listen (or PORT, which wins over it), or end what listens there", err)
	}
	server := &http.Server{
		Handler:           web.Handler(loop.Health()),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("health checks ended", "reason", err)
		}
	}()
	log.Info("started", "version", version(), "certificates", len(graph.Certificates), "sinks", len(graph.Agents), "listen", listener.Addr().String())
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	last := make(chan *config.Graph, 1)
	go func() { last <- a.reloads(ctx, hangups, loop, graph, log) }()
	loop.Run(ctx)
	graph = <-last
	log.Info("ended")
	return server.Close()
}

// reloads takes over a changed configuration at each hangup, until ctx ends. It
// returns the graph that is in force then; those before it are closed.
func (a *app) reloads(ctx context.Context, hangups <-chan os.Signal, loop *reconcile.Loop, graph *config.Graph, log *slog.Logger) *config.Graph {
	for {
		select {
		case <-ctx.Done():
			return graph
		case <-hangups:
		}
		next, err := a.open()
		if err == nil {
			err = loop.Reload(ctx, next.Parts(), next.Schedule)
		}
		loop.Health().Configuration(err)
		if err != nil {
			log.Error("the configuration was not taken over, the last good one stays in force", "reason", err)
			continue
		}
		if next.Listen != graph.Listen {
			log.Warn("http.listen was changed: that takes effect at the next start", "listens", graph.Listen, "configured", next.Listen)
		}
		a.close(graph)
		graph = next
		log.Info("the configuration was taken over", "certificates", len(next.Certificates), "sinks", len(next.Agents))
	}
}
