package main

import (
	"slices"
	"time"

	"github.com/anycert/anycert/internal/notify"
	"github.com/anycert/anycert/reconcile"
)

// vitals is what the HTTP server tells about a daemon: how the loop does, and whether those
// who are to be told of alarms hear.
type vitals struct {
	*reconcile.Health
	notifier *notify.Notifier
}

// Ready has a line for each thing that somebody has to look at.
func (v vitals) Ready(now time.Time) []string {
	return slices.Concat(v.Health.Ready(now), v.notifier.Problems())
}

// Snapshot is for those who count.
func (v vitals) Snapshot() reconcile.Snapshot {
	snapshot := v.Health.Snapshot()
	snapshot.Receivers = v.notifier.States()
	return snapshot
}
