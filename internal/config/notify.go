package config

import (
	"fmt"

	"github.com/anycert/anycert/internal/config/strict"
	"github.com/anycert/anycert/internal/notify"
)

// notify checks the receivers of alarms.
func (c *checks) notify() {
	names := c.names("receiver")
	for i, receiver := range c.Notify {
		path := fmt.Sprintf("notify[%d]", i)
		names.claim(path, receiver.Name)
		c.part(path, receiver.Check())
	}
}

// openReceivers makes every receiver of alarms. It asks nobody.
func (c *Config) openReceivers(options Options, opened opened) (receivers []*notify.Receiver, problems []strict.Problem) {
	for i, declared := range c.Notify {
		receiver, err := declared.Open(notify.Env{Owner: c.Owner, UserAgent: options.userAgent(), Credential: opened.credentials})
		if err != nil {
			problems = append(problems, c.root.Problem(fmt.Sprintf("notify[%d]", i), err.Error()))
			continue
		}
		receivers = append(receivers, receiver)
	}
	return receivers, problems
}

// Telling is what tells people of alarms is given.
func (g *Graph) Telling() notify.Setup {
	return notify.Setup{Owner: g.Owner, Records: g.Records, Receivers: g.receivers}
}

// probeReceivers tries each receiver of alarms. Nothing is told.
func (g *Graph) probeReceivers() (probes []Probe) {
	for _, receiver := range g.receivers {
		probes = append(probes, Probe{Part: "receiver " + receiver.Name, Try: receiver.Probe})
	}
	return probes
}
