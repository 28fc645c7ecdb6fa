package config

import (
	"context"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/config/strict"
	"github.com/anycert/anycert/reconcile"
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
	Listen       string // HOST:PORT
	Trial        bool   // the store is a local file

	issuers []string // names, in the order of the file
	close   func(context.Context) error
}

// Parts are what reconcile works on.
func (g *Graph) Parts() reconcile.Parts {
	return reconcile.Parts{
		Owner:        g.Owner,
		Store:        g.Store,
		Issuer:       g.Issuer,
		Certificates: g.Certificates,
		Agents:       g.Agents,
	}
}

// Close gives back what the graph obtained, which is its session with the store.
// Nothing of the graph may be used after it.
func (g *Graph) Close(ctx context.Context) error { return g.close(ctx) }

// Open makes every part that a configuration names. Files that it names are read;
// nobody is asked over the network. What is wrong in the configuration comes as
// [Problems]: that a sink cannot be made on this machine, that it has no target for
// a certificate, and that two claim one target.
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
		Listen:       c.listen(options),
		Trial:        c.Store.Local != nil,
		close:        opened.close,
	}
	if graph.Issuer, err = c.openIssuer(options, opened); err != nil {
		return nil, err
	}
	for _, made := range c.Issuers {
		graph.issuers = append(graph.issuers, made.Name)
	}
	agents, problems := c.openSinks(options, opened.credentials, graph.Certificates)
	if len(problems) > 0 {
		return nil, problemsOf(c.file, strict.Merge(nil, problems))
	}
	graph.Agents = agents
	return graph, nil
}
