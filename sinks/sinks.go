// Package sinks lists the types of sinks. A new one is a folder beside these, and a
// line here.
package sinks

import (
	"github.com/anycert/anycert"
	"github.com/anycert/anycert/sinks/fastly"
	"github.com/anycert/anycert/sinks/file"
	"github.com/anycert/anycert/sinks/fly"
	"github.com/anycert/anycert/sinks/kubernetes"
)

// Types makes, for each type as the configuration names it, an empty configuration
// to be filled in.
func Types() map[string]func() anycert.SinkConfig {
	return map[string]func() anycert.SinkConfig{
		"fastly":     func() anycert.SinkConfig { return new(fastly.Config) },
		"file":       func() anycert.SinkConfig { return new(file.Config) },
		"fly":        func() anycert.SinkConfig { return new(fly.Config) },
		"kubernetes": func() anycert.SinkConfig { return new(kubernetes.Config) },
	}
}
