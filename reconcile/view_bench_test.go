package reconcile

import (
	"fmt"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/store/storetest"
)

// What the status page costs a daemon: what is kept for it alone, by certificate, and each
// look at it.
func BenchmarkView(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			health := hourOld(n)
			for b.Loop() {
				if view := health.View(time.Now()); len(view.Certificates) != n {
					b.Fatal("the view is not whole")
				}
			}
			with := heap()
			health.listed, health.recent = nil, new(recent)
			for _, r := range health.sinks {
				r.stretches, r.passes = nil, nil
			}
			b.ReportMetric(float64(with-heap())/float64(n), "kept-B/certificate")
			runtime.KeepAlive(health)
		})
	}
}

// hourOld is a daemon with n certificates, each at one target, an hour after its start.
func hourOld(n int) *Health {
	var certificates []anycert.Certificate
	for i := range n {
		name := fmt.Sprintf("c%05d", i)
		certificates = append(certificates, anycert.Certificate{Name: name, Owner: "web team", Domains: []string{name + ".example.com", "www." + name + ".example.com"}})
	}
	hub := New(Parts{Owner: "prod", Store: &storetest.Memory{}, Certificates: certificates,
		Agents: []Agent{{Name: "prod", Type: "memory", Certificates: certificates}}}, slog.New(slog.DiscardHandler))
	health, now := newHealth(hub), time.Now()
	for pass := range keptPasses {
		ended := now.Add(time.Duration(pass-keptPasses) * time.Minute)
		var promises []Promise
		for _, c := range certificates {
			promises = append(promises, Promise{Certificate: c.Name, Sink: "prod", Target: "web/" + c.Name + "-tls", Verdict: Kept, Version: 1, NotAfter: &now, sighting: new(sighting)})
		}
		var listed []CertificateStatus
		for _, c := range certificates {
			from, to := now, now
			listed = append(listed, CertificateStatus{Name: c.Name, Owner: c.Owner, Domains: c.Domains, Version: 1, NotBefore: &from, NotAfter: &to})
		}
		health.passed("prod", ended.Add(-time.Second), ended, promises)
		health.read(ended, hub.states(nil, ended), listed, nil, nil)
	}
	return health
}

// heap is how much of it is in use, in bytes.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}
