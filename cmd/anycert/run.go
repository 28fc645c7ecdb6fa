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
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/anycert/anycert/internal/config"
	"github.com/anycert/anycert/internal/notify"
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

GET / is a status page for people, and /api/v1/ the same as JSON: to this machine, and
from elsewhere with http.token or behind http.proxy_header. /health/live tells whether
the loop turns, /health/ready whether the promises are kept. Only the first is a reason
to restart it. /metrics is for Prometheus.

Exit code: 0 it was asked to end and did; 1 it could not start.`,
		Example: `  anycert run
  anycert run --config /etc/anycert/config.yaml
  anycert run --log-format json --log-level warn`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			collectOften()
			hangups := make(chan os.Signal, 1)
			signal.Notify(hangups, syscall.SIGHUP) // before anything that takes its time: one that is not awaited ends the process
			defer signal.Stop(hangups)
			log, err := a.logger()
			if err != nil {
				return err
			}
			graph, err := a.open()
			if err != nil {
				return err
			}
			for _, warning := range graph.Warnings {
				log.Warn(warning)
			}
			if graph.Trial {
				log.Warn("the store is a local file: this is for trying it out, use Vault for what matters")
			}
			d := &daemon{app: a, log: log, loop: reconcile.NewLoop(reconcile.New(graph.Parts(), log), graph.Schedule)}
			d.notifier = notify.New(d.loop.Health().Alarms, graph.Telling(), log)
			return d.run(cmd.Context(), graph, hangups)
		},
	}
}

// collectOften has the garbage of a pass collected sooner than Go does by itself, unless
// GOGC says when: what is kept between passes is large, a pass has time, and memory is
// what a small machine has least of.
func collectOften() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(30)
	}
}

// daemon is the loop, its reloads and its HTTP server.
type daemon struct {
	*app
	log      *slog.Logger
	loop     *reconcile.Loop
	notifier *notify.Notifier
	gate     *web.Gate // of the status page

	closing sync.WaitGroup // sessions that are being given back
}

// closePatience is how long the end waits for sessions to be given back. The loop takes up
// to 6 s before, and whoever asked for the end has 10.
const closePatience = 3 * time.Second

// run does its work until ctx ends, beginning with graph.
func (d *daemon) run(ctx context.Context, graph *config.Graph, hangups <-chan os.Signal) error {
	server, err := d.serve(graph)
	if err != nil {
		d.close(graph)
		return err
	}
	last := make(chan *config.Graph, 1)
	go func() { last <- d.reloads(ctx, hangups, graph) }()
	told := make(chan struct{})
	go func() { defer close(told); d.notifier.Run(ctx) }()
	d.loop.Run(ctx)
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		<-told // it keeps in the store what was told
		d.closeBeside(<-last)
		d.closing.Wait()
	}()
	select {
	case <-closed:
	case <-time.After(closePatience):
	}
	d.log.Info("ended")
	return server.Close()
}

// serve answers where graph says.
func (d *daemon) serve(graph *config.Graph) (*http.Server, error) {
	address, err := graph.Listen()
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listening for the status page and health checks: %w: change http.listen (or PORT, which wins over it), or end what listens there", err)
	}
	d.gate = web.NewGate(listener.Addr(), graph.Access, d.log)
	server := web.NewServer(vitals{d.loop.Health(), d.notifier}, web.Build{Version: version(), Commit: commit(), Time: committed()}, d.gate, d.log)
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			d.log.Error("the status page and health checks ended", "reason", err)
		}
	}()
	d.log.Info("started", "version", version(), "certificates", len(graph.Certificates), "sinks", len(graph.Agents), "listen", listener.Addr().String())
	return server, nil
}

// reloads takes over a changed configuration at each hangup, until ctx ends. It
// returns the graph that is in force then; those before it are closed.
func (d *daemon) reloads(ctx context.Context, hangups <-chan os.Signal, graph *config.Graph) *config.Graph {
	for {
		select {
		case <-ctx.Done():
			return graph
		case <-hangups:
		}
		next, err := d.reload(ctx)
		if ctx.Err() != nil && err != nil { // the end was asked for: that says nothing about the file
			return graph
		}
		d.loop.Health().Configuration(err)
		if err != nil {
			d.log.Error("the configuration was not taken over, the last good one stays in force", "reason", err)
			continue
		}
		for _, warning := range next.Warnings {
			d.log.Warn(warning)
		}
		was, _ := graph.Listen()
		if listen, _ := next.Listen(); listen != was {
			d.log.Warn("http.listen was changed: that takes effect at the next start", "listens", was, "configured", listen)
		}
		d.gate.Change(next.Access)
		d.closeBeside(graph)
		graph = next
		d.log.Info("the configuration was taken over", "certificates", len(next.Certificates), "sinks", len(next.Agents))
	}
}

// reload opens the configuration and lets the loop take it over.
func (d *daemon) reload(ctx context.Context) (*config.Graph, error) {
	next, err := d.open()
	if err != nil {
		return nil, err
	}
	if err := d.loop.Reload(ctx, next.Parts(), next.Schedule); err != nil {
		d.closeBeside(next)
		return nil, err
	}
	d.notifier.Reload(ctx, next.Telling())
	return next, nil
}

// closeBeside closes a graph and does not wait for it: a store that does not answer
// delays neither a reload nor the end.
func (d *daemon) closeBeside(graph *config.Graph) { d.closing.Go(func() { d.close(graph) }) }
