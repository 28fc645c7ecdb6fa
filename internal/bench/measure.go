package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/anycert/anycert/internal/testenv/kubeserver"
	"github.com/anycert/anycert/internal/testenv/program"
	"github.com/anycert/anycert/internal/testenv/vaultserver"
)

// passes is how many unchanged passes are averaged.
const passes = 3

// result is what one size came to.
type result struct {
	certificates int
	fill         time.Duration // from the start until every promise is kept
	perPass      map[string]float64
	cpu          float64 // seconds a pass
	resident     float64 // MiB, at the end
	peak         float64 // MiB
	page         page    // the status page
}

func measure(ctx context.Context, dir, binary string, n int, list bool) (result, error) {
	w, err := newWorld(ctx, dir, n, list)
	if err != nil {
		return result{}, err
	}
	defer w.close()
	started := time.Now()
	d, err := program.Start(ctx, program.Spec{Binary: binary, Config: w.config, Dir: dir,
		Env: []string{"VAULT_TOKEN=" + w.vault.RootToken}})
	if err != nil {
		return result{}, err
	}
	defer d.Stop()
	if err := untilReady(ctx, d); err != nil {
		return result{}, err
	}
	r := result{certificates: n, fill: time.Since(started)}
	if err := pause(ctx, w.interval()); err != nil { // the pass after the first, which still sees its own writes
		return result{}, err
	}
	vault, err := w.vault.Mark()
	if err != nil {
		return result{}, err
	}
	kube, err := w.kube.Mark()
	if err != nil {
		return result{}, err
	}
	before := cpu(d.PID())
	if err := pause(ctx, passes*w.interval()); err != nil {
		return result{}, err
	}
	r.cpu = (cpu(d.PID()) - before) / passes
	r.resident, r.peak = memory(d.PID())
	if r.page, err = look(ctx, d); err != nil {
		return result{}, err
	}
	r.perPass, err = w.requests(vault, kube)
	return r, err
}

// page is what it costs to look at the status page.
type page struct {
	firstByte time.Duration // the shortest of looks
	size      int           // bytes
	cpu       float64       // seconds a look
	resident  float64       // MiB, after the last of looks
}

// looks is how often the page is asked for, one after the other.
const looks = 50

func look(ctx context.Context, d *program.Daemon) (page, error) {
	p := page{firstByte: time.Hour}
	before := cpu(d.PID())
	for range looks {
		began := time.Now()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, d.URL, nil)
		if err != nil {
			return page{}, err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return page{}, err
		}
		p.firstByte = min(p.firstByte, time.Since(began))
		text, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode != http.StatusOK {
			return page{}, fmt.Errorf("the status page: %s, %w", response.Status, err)
		}
		p.size = len(text)
	}
	p.cpu = (cpu(d.PID()) - before) / looks
	p.resident, _ = memory(d.PID())
	return p, nil
}

// untilReady waits until every promise is kept.
func untilReady(ctx context.Context, d *program.Daemon) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Minute)
	defer cancel()
	return d.WaitReady(ctx)
}

// requests counts what each API was asked, for one pass.
func (w *world) requests(vault vaultserver.Mark, kube kubeserver.Mark) (map[string]float64, error) {
	asked, err := w.vault.Requests(vault)
	if err != nil {
		return nil, err
	}
	served, err := w.kube.Requests(kube)
	if err != nil {
		return nil, err
	}
	served = kubeserver.From("anycert", served)
	return map[string]float64{
		"Vault: requests":          float64(len(asked)) / passes,
		"Vault: writes":            float64(len(vaultserver.Writes(asked))) / passes,
		"Vault: keys read":         float64(len(vaultserver.KeyReads(asked))) / passes,
		"kube-apiserver: requests": float64(len(served)) / passes,
		"kube-apiserver: writes":   float64(len(kubeserver.Writes(served))) / passes,
	}, nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// cpu is the processor time of a process so far, in seconds: proc(5), utime and stime.
func cpu(pid int) float64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	const ticks = 100 // USER_HZ, the same on every Linux that Go runs on
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	return (user + system) / ticks
}

// memory is what a process has resident now, and was at most, in MiB.
func memory(pid int) (now, peak float64) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		kib, _ := strconv.ParseFloat(fields[1], 64)
		switch fields[0] {
		case "VmRSS:":
			now = kib / 1024
		case "VmHWM:":
			peak = kib / 1024
		}
	}
	return now, peak
}

// print shows the results side by side, and the last as a multiple of the first.
func print(w io.Writer, results []result) {
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', tabwriter.AlignRight)
	defer table.Flush()
	row := func(what, format string, value func(result) float64) {
		fmt.Fprint(table, what, "\t")
		for _, r := range results {
			fmt.Fprintf(table, format+"\t", value(r))
		}
		if first, last := value(results[0]), value(results[len(results)-1]); len(results) > 1 && first > 0 {
			fmt.Fprintf(table, "× %.1f\t", last/first)
		} else {
			fmt.Fprint(table, "\t")
		}
		fmt.Fprintln(table)
	}
	row("certificates, each × (Secret + directory)", "%.0f", func(r result) float64 { return float64(r.certificates) })
	row("from the start to all equal, s", "%.1f", func(r result) float64 { return r.fill.Seconds() })
	for _, what := range []string{"Vault: requests", "Vault: writes", "Vault: keys read", "kube-apiserver: requests", "kube-apiserver: writes"} {
		row("an unchanged pass, "+what, "%.0f", func(r result) float64 { return r.perPass[what] })
	}
	row("an unchanged pass, CPU s", "%.2f", func(r result) float64 { return r.cpu })
	row("resident memory, MiB", "%.0f", func(r result) float64 { return r.resident })
	row("peak memory, MiB", "%.0f", func(r result) float64 { return r.peak })
	row("the status page, first byte, ms", "%.1f", func(r result) float64 { return float64(r.page.firstByte.Microseconds()) / 1000 })
	row("the status page, KiB", "%.0f", func(r result) float64 { return float64(r.page.size) / 1024 })
	row("the status page, CPU ms", "%.1f", func(r result) float64 { return 1000 * r.page.cpu })
	row("resident memory after 50 looks at it, MiB", "%.0f", func(r result) float64 { return r.page.resident })
}
