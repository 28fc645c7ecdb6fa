package web

import (
	"runtime"
	"slices"

	"github.com/anycert/anycert/reconcile"
)

// The types of metrics.
const (
	gauge     = "gauge"
	counter   = "counter"
	histogram = "histogram"
)

// families are all metrics of a daemon. Help is also what docs/metrics.md says.
func families(build Build) []family {
	return slices.Concat(certificateFamilies(), promiseFamilies(), passFamilies(), outcomeFamilies(), storeFamilies(), receiverFamilies(), daemonFamilies(build))
}

func certificateFamilies() []family {
	const part = "Certificates"
	labels := []string{"certificate"}
	each := func(collect func(reconcile.CertificateState, *sender)) func(reconcile.Snapshot, *sender) {
		return func(s reconcile.Snapshot, to *sender) {
			for _, c := range s.Certificates {
				collect(c, to)
			}
		}
	}
	return []family{
		{Metric{part, "anycert_certificate_not_before_timestamp_seconds", gauge, labels,
			"When the store's version began to be valid. While the store cannot be read, that of the version read last; left out while there is none."},
			each(func(c reconcile.CertificateState, to *sender) { to.momentIfAny(c.NotBefore, c.Name) })},
		{Metric{part, "anycert_certificate_not_after_timestamp_seconds", gauge, labels,
			"When the store's version expires. While the store cannot be read, that of the version read last; left out while there is none."},
			each(func(c reconcile.CertificateState, to *sender) { to.momentIfAny(c.NotAfter, c.Name) })},
		{Metric{part, "anycert_certificate_next_renewal_timestamp_seconds", gauge, labels,
			"When it is due to be obtained; in the past while it is overdue. Where it is taken from a cluster, the last pass, which looked there. Left out where someone else keeps it."},
			each(func(c reconcile.CertificateState, to *sender) { to.momentIfAny(c.Renewal, c.Name) })},
		{Metric{part, "anycert_certificate_order_failed", gauge, labels,
			"1 after an order that failed, until one succeeds or none is due any more. Left out where someone else keeps it."},
			each(func(c reconcile.CertificateState, to *sender) {
				if c.Obtained {
					to.flag(c.OrderFailed, c.Name)
				}
			})},
	}
}

func promiseFamilies() []family {
	const part = "Promises"
	each := func(collect func(reconcile.PromiseState, string, *sender)) func(reconcile.Snapshot, *sender) {
		return func(s reconcile.Snapshot, to *sender) {
			for _, sink := range s.Sinks {
				for _, p := range sink.Promises {
					collect(p, sink.Name, to)
				}
			}
		}
	}
	return []family{
		{Metric{part, "anycert_promises", gauge, []string{"certificate", "sink", "verdict"},
			"Targets of a sink where a certificate belongs, by the verdict of the last pass. Verdicts that no target has are left out, but for kept."},
			each(func(p reconcile.PromiseState, sink string, to *sender) {
				for _, verdict := range reconcile.Verdicts() {
					if n := p.Verdicts[verdict]; n > 0 || verdict == reconcile.Kept {
						to.number(float64(n), p.Certificate, sink, string(verdict))
					}
				}
			})},
		{Metric{part, "anycert_promise_verified_timestamp_seconds", gauge, []string{"certificate", "sink"},
			"When the targets of a sink were last seen to hold the current version of a certificate: the oldest over its targets. 0 while this process has not seen it of each."},
			each(func(p reconcile.PromiseState, sink string, to *sender) { to.moment(p.Verified, p.Certificate, sink) })},
		{Metric{part, "anycert_promise_not_after_timestamp_seconds", gauge, []string{"certificate", "sink"},
			"When what is served expires: the earliest over the targets of a sink, as the last pass saw it there. Left out when it saw no certificate."},
			each(func(p reconcile.PromiseState, sink string, to *sender) {
				to.momentIfAny(p.NotAfter, p.Certificate, sink)
			})},
		{Metric{part, "anycert_wire", gauge, []string{"certificate", "sink", "wire"},
			"Targets of a sink where a certificate belongs, by what the world was last seen to be served of each. States that no target has are left out, but for served; all are where nobody looks."},
			each(func(p reconcile.PromiseState, sink string, to *sender) {
				for _, state := range reconcile.WireStates() {
					if n := p.Wires[state]; n > 0 || state == reconcile.WireServed && len(p.Wires) > 0 {
						to.number(float64(n), p.Certificate, sink, string(state))
					}
				}
			})},
		{Metric{part, "anycert_wire_seen_timestamp_seconds", gauge, []string{"certificate", "sink"},
			"When somebody last looked what the world is served: the oldest over the targets of a sink. Left out where nobody looks."},
			each(func(p reconcile.PromiseState, sink string, to *sender) {
				to.momentIfAny(p.WireSeen, p.Certificate, sink)
			})},
		{Metric{part, "anycert_wire_not_after_timestamp_seconds", gauge, []string{"certificate", "sink"},
			"When what the world is served expires: the earliest over all addresses. Left out when nothing was seen."},
			each(func(p reconcile.PromiseState, sink string, to *sender) {
				to.momentIfAny(p.WireNotAfter, p.Certificate, sink)
			})},
	}
}

// eachSink makes a family's values from the sinks.
func eachSink(collect func(reconcile.SinkState, *sender)) func(reconcile.Snapshot, *sender) {
	return func(s reconcile.Snapshot, to *sender) {
		for _, sink := range s.Sinks {
			collect(sink, to)
		}
	}
}

func passFamilies() []family {
	const part = "Passes"
	labels := []string{"sink"}
	return []family{
		{Metric{part, "anycert_pass_duration_seconds", histogram, labels,
			"How long the passes of a sink took."},
			eachSink(func(sink reconcile.SinkState, to *sender) { to.histogram(sink.Took, sink.Name) })},
		{Metric{part, "anycert_pass_last_end_timestamp_seconds", gauge, labels,
			"When the last pass of a sink ended, whatever it found. 0 before the first."},
			eachSink(func(sink reconcile.SinkState, to *sender) { to.moment(sink.Passed, sink.Name) })},
		{Metric{part, "anycert_pass_last_success_timestamp_seconds", gauge, labels,
			"When the last pass of a sink ended after which every promise was kept or waiting. 0 before the first."},
			eachSink(func(sink reconcile.SinkState, to *sender) { to.moment(sink.Succeeded, sink.Name) })},
		{Metric{part, "anycert_pass_stale_after_seconds", gauge, nil,
			"How long after the end of its last pass nobody can say any more that the promises of a sink are kept: three steps of the schedule, five minutes at least."},
			func(s reconcile.Snapshot, to *sender) { to.number(s.Stale.Seconds()) }},
	}
}

func outcomeFamilies() []family {
	const part = "Pushes and orders"
	return []family{
		{Metric{part, "anycert_pushes_total", counter, []string{"sink", "result", "reason"},
			"Pushes to the targets of a sink, by how they ended. A push that could not begin, since the store did not give the bundle, is one that failed."},
			eachSink(func(sink reconcile.SinkState, to *sender) {
				for outcome, n := range sink.Pushes {
					to.number(float64(n), sink.Name, string(outcome.Result), string(outcome.Reason))
				}
			})},
		{Metric{part, "anycert_orders_total", counter, []string{"issuer", "result", "reason"},
			"Orders of certificates from an issuer, by how they ended. An order that is put off, or that another process is at, is deferred and counted at each pass."},
			func(s reconcile.Snapshot, to *sender) {
				for _, issuer := range s.Issuers {
					for outcome, n := range issuer.Orders {
						to.number(float64(n), issuer.Name, string(outcome.Result), string(outcome.Reason))
					}
				}
			}},
	}
}

func storeFamilies() []family {
	const part = "Store"
	return []family{
		{Metric{part, "anycert_store_entries", gauge, []string{"state"},
			"Declared certificates that are not suspended, by what the store said of each when it was last asked."},
			func(s reconcile.Snapshot, to *sender) {
				count := make(map[string]int)
				for _, state := range storeStates() {
					count[state] = 0
				}
				for _, c := range s.Certificates {
					if c.Entry != "" && !c.Suspended { // else it was not asked yet, or is frozen on purpose
						count[storeState(c.Entry)]++
					}
				}
				for state, n := range count {
					to.number(float64(n), state)
				}
			}},
		{Metric{part, "anycert_store_last_success_timestamp_seconds", gauge, nil,
			"When the store last answered for every declared certificate that is not suspended, be it that there is none. 0 before the first time."},
			func(s reconcile.Snapshot, to *sender) { to.moment(s.StoreRead) }},
	}
}

// storeStates are the values of the label state.
func storeStates() []string {
	states := []string{"read"}
	for _, reason := range []reconcile.Reason{reconcile.NotFound, reconcile.Deleted, reconcile.Malformed, reconcile.Unindexed,
		reconcile.Forbidden, reconcile.Unavailable, reconcile.Timeout, reconcile.Other} {
		states = append(states, string(reason))
	}
	return states
}

func storeState(entry reconcile.Reason) string {
	switch {
	case entry == reconcile.NoReason:
		return "read"
	case slices.Contains(storeStates(), string(entry)):
		return string(entry)
	}
	return string(reconcile.Other)
}

func receiverFamilies() []family {
	const part = "Telling of alarms"
	each := func(collect func(reconcile.ReceiverState, *sender)) func(reconcile.Snapshot, *sender) {
		return func(s reconcile.Snapshot, to *sender) {
			for _, r := range s.Receivers {
				collect(r, to)
			}
		}
	}
	return []family{
		{Metric{part, "anycert_notifications_total", counter, []string{"receiver", "result"},
			"Attempts to tell a receiver of alarms, by how they ended: a failure is tried again, what was dropped was tried for a day."},
			each(func(r reconcile.ReceiverState, to *sender) {
				for _, result := range notificationResults {
					to.number(float64(r.Ended[result]), r.Name, string(result))
				}
			})},
		{Metric{part, "anycert_receiver_failing", gauge, []string{"receiver"},
			"1 while a receiver of alarms does not take what it is told; /health/ready says why."},
			each(func(r reconcile.ReceiverState, to *sender) { to.flag(r.Failing, r.Name) })},
	}
}

// notificationResults are the values of the label result of anycert_notifications_total.
var notificationResults = [...]reconcile.Result{reconcile.Success, reconcile.Failure, reconcile.Dropped}

func daemonFamilies(build Build) []family {
	const part = "The daemon"
	return []family{
		{Metric{part, "anycert_config_last_reload_successful", gauge, nil,
			"0 after a reload that was not taken over, until one is. The start counts as a reload."},
			func(s reconcile.Snapshot, to *sender) { to.flag(!s.ReloadFailed) }},
		{Metric{part, "anycert_config_last_reload_success_timestamp_seconds", gauge, nil,
			"When the configuration in force was taken over."},
			func(s reconcile.Snapshot, to *sender) { to.moment(s.Reloaded) }},
		{Metric{part, "anycert_loop_last_turn_timestamp_seconds", gauge, nil,
			"When the loop last turned. It hands out work and waits for none."},
			func(s reconcile.Snapshot, to *sender) { to.moment(s.Turned) }},
		{Metric{part, "anycert_loop_deadline_timestamp_seconds", gauge, nil,
			"When the loop must have turned again. After it /health/live fails."},
			func(s reconcile.Snapshot, to *sender) { to.moment(s.Deadline) }},
		{Metric{part, "anycert_build_info", gauge, []string{"version", "commit", "goversion"},
			"Always 1; the labels say what was built."},
			func(_ reconcile.Snapshot, to *sender) { to.number(1, build.Version, build.Commit, runtime.Version()) }},
		{Metric{part, "anycert_build_timestamp_seconds", gauge, nil,
			"The time of the commit that it was built from. Left out when that is not known."},
			func(_ reconcile.Snapshot, to *sender) { to.momentIfAny(build.Time) }},
	}
}
