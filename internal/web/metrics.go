package web

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/anycert/anycert/reconcile"
)

// Build says what was built.
type Build struct {
	Version string
	Commit  string
	Time    time.Time // of the commit; zero when it is not known
}

// Metric describes one metric of a daemon. Its labels are bounded by the configuration
// and by closed sets: what a reload takes out of the configuration is not exported any
// more.
type Metric struct {
	Part   string // of a daemon, for people
	Name   string
	Type   string // gauge, counter or histogram
	Labels []string
	Help   string
}

// Metrics lists what a daemon exports of itself, beside what every program in Go does.
func Metrics() []Metric {
	var metrics []Metric
	for _, f := range families(Build{}) {
		metrics = append(metrics, f.Metric)
	}
	return metrics
}

// NewRegistry makes the registry of a daemon: what snapshot tells of it, once for each
// scrape, and what the process and the Go runtime do.
func NewRegistry(snapshot func() reconcile.Snapshot, build Build) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		newCollector(snapshot, build),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return registry
}

// collector exports snapshots. All values of one scrape are of one moment.
type collector struct {
	snapshot func() reconcile.Snapshot
	families []family
	descs    []*prometheus.Desc // of the families, in their order
}

func newCollector(snapshot func() reconcile.Snapshot, build Build) *collector {
	c := &collector{snapshot: snapshot, families: families(build)}
	for _, f := range c.families {
		c.descs = append(c.descs, prometheus.NewDesc(f.Name, f.Help, f.Labels, nil))
	}
	return c
}

// Describe implements [prometheus.Collector].
func (c *collector) Describe(descs chan<- *prometheus.Desc) {
	for _, desc := range c.descs {
		descs <- desc
	}
}

// Collect implements [prometheus.Collector].
func (c *collector) Collect(metrics chan<- prometheus.Metric) {
	snapshot := c.snapshot()
	for i, f := range c.families {
		f.collect(snapshot, &sender{c.descs[i], f.kind(), metrics})
	}
}

// family is a metric, and where its values come from.
type family struct {
	Metric
	collect func(reconcile.Snapshot, *sender)
}

func (f family) kind() prometheus.ValueType {
	if f.Type == counter {
		return prometheus.CounterValue
	}
	return prometheus.GaugeValue
}

// sender exports the values of one family.
type sender struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	to   chan<- prometheus.Metric
}

// number exports a value. The labels are in the order of the family's.
func (s *sender) number(value float64, labels ...string) {
	metric, err := prometheus.NewConstMetric(s.desc, s.kind, value, labels...)
	s.send(metric, err)
}

// moment exports a time; zero as 0.
func (s *sender) moment(t time.Time, labels ...string) {
	if t.IsZero() {
		s.number(0, labels...)
		return
	}
	s.number(float64(t.UnixMilli())/1000, labels...)
}

// momentIfAny exports a time; zero not at all.
func (s *sender) momentIfAny(t time.Time, labels ...string) {
	if !t.IsZero() {
		s.moment(t, labels...)
	}
}

// flag exports true as 1.
func (s *sender) flag(value bool, labels ...string) {
	if value {
		s.number(1, labels...)
		return
	}
	s.number(0, labels...)
}

// histogram exports durations.
func (s *sender) histogram(d reconcile.Durations, labels ...string) {
	buckets := make(map[float64]uint64, len(d.Within))
	for bound, n := range d.Within {
		buckets[bound.Seconds()] = uint64(n)
	}
	metric, err := prometheus.NewConstHistogram(s.desc, uint64(d.Count), d.Sum.Seconds(), buckets, labels...)
	s.send(metric, err)
}

// send makes an error one of the scrape: it must not end the daemon.
func (s *sender) send(metric prometheus.Metric, err error) {
	if err != nil {
		metric = prometheus.NewInvalidMetric(s.desc, err)
	}
	s.to <- metric
}
