package config

import (
	"context"
	"slices"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/config/strict"
	"github.com/anycert/anycert/internal/notify"
	"github.com/anycert/anycert/internal/web"
	"github.com/anycert/anycert/internal/wire"
	"github.com/anycert/anycert/reconcile"
	"github.com/anycert/anycert/store"
)

// Graph is a configuration with every part of it opened and wired together.
type Graph struct {
	Owner        string
	Certificates []anycert.Certificate
	Store        anycert.Store
	Records      anycert.Records
	Issuer       anycert.Issuer // nil: no issuers, which makes a follower
	Agents       []reconcile.Agent
	Schedule     reconcile.Schedule
	Trial        bool     // the store is a local file
	Warnings     []string // of credentials that every user of this machine may read
	Access       web.Access

	receivers []*notify.Receiver
	listen    listen
	issuers   []string // names, in the order of the file
	rights    []store.Right
	soak      time.Duration
	brake     reconcile.Brake
	close     func(context.Context) error
}

// Parts are what reconcile works on.
func (g *Graph) Parts() reconcile.Parts {
	return reconcile.Parts{
		Owner:        g.Owner,
		Store:        g.Store,
		Issuer:       g.Issuer,
		Witness:      wire.New(wire.Options{}),
		Certificates: g.Certificates,
		Agents:       g.Agents,
		Soak:         g.soak,
		Brake:        g.brake,
	}
}

// Close gives back what the graph obtained, which is its session with the store.
// Nothing of the graph may be used after it.
func (g *Graph) Close(ctx context.Context) error { return g.close(ctx) }

// Open makes every part that a configuration names. Files that it names are read;
// nobody is asked over the network. What is wrong in the configuration comes as
// [Problems]: that a sink cannot be made on this machine, that it has no target for
// a certificate, that two claim one target, and that someone else may write a file
// that is trusted.
func Open(c *Config, options Options) (*Graph, error) {
	opened, err := c.openStore(options)
	if err != nil {
		return nil, err
	}
	schedule, _ := parseSchedule(c.Reconcile.Schedule) // Load has checked it
	graph := &Graph{
		Owner:        c.Owner,
		Certificates: c.declared(),
		Store:        opened.store,
		Records:      opened.records,
		Schedule:     schedule,
		Access:       c.access(opened.credentials),
		listen:       c.listen(options),
		Trial:        c.Store.Local != nil,
		Warnings:     c.exposed(options),
		soak:         c.Reconcile.soak(),
		brake:        c.Reconcile.brake(),
		close:        opened.close,
	}
	issuing, problems, err := c.openIssuers(options, opened)
	if err != nil {
		return nil, err
	}
	if graph.rights, err = c.rights(); err != nil {
		return nil, c.in(err)
	}
	for _, declared := range c.Issuers {
		graph.Issuer = issuing
		graph.issuers = append(graph.issuers, declared.Name())
	}
	agents, more := c.openSinks(options, opened.credentials, graph.Certificates)
	receivers, unopened := c.openReceivers(options, opened)
	problems = slices.Concat(problems, more, unopened, c.changeable(), c.fronts(agents), c.circles(issuing.sources, agents))
	if len(problems) > 0 {
		return nil, problemsOf(c.file, strict.Merge(nil, problems))
	}
	graph.Agents, graph.receivers = agents, receivers
	return graph, nil
}
