// Command anycert-demo shows the main job on one machine: it starts a CA, a DNS server
// and the far ends, lets the shipped anycert obtain two certificates and push them
// everywhere, breaks every target, and lets the next pass mend them.
//
// Nothing of it is part of the shipped program, which it runs as anybody would.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("anycert-demo", flag.ContinueOnError)
	anycert := flags.String("anycert", "bin/anycert", "the program to show")
	dir := flags.String("dir", ".demo", "where its files are written; emptied first")
	real := flags.Bool("real", false, "fail unless Vault and kube-apiserver are the real ones")
	keep := flags.Bool("keep", false, "leave the daemon running until Ctrl-C")
	if err := flags.Parse(args); err != nil {
		return err
	}
	start := time.Now()
	w, err := newWorld(ctx, *dir, *real)
	if err != nil {
		return err
	}
	defer w.close()
	d := &demo{world: w, anycert: *anycert, out: out}
	d.introduce()
	if err := d.mainJob(ctx); err != nil {
		return err
	}
	if err := d.breakAndMend(ctx); err != nil {
		return err
	}
	d.say("\nDone in %.0f s. The configuration was %s.", time.Since(start).Seconds(), d.world.config)
	if *keep {
		return d.keep(ctx)
	}
	d.say("`make demo KEEP=1` leaves the daemon running to play with.")
	return nil
}

// demo talks, and runs the program.
type demo struct {
	*world
	anycert string
	out     io.Writer
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.out, format+"\n", args...) }

// do runs a verb, shows what it prints, and fails when it does not end with code.
func (d *demo) do(ctx context.Context, code int, verb ...string) error {
	d.say("\n$ anycert %s", strings.Join(verb, " "))
	cmd := exec.CommandContext(ctx, d.anycert, append([]string{"--config", d.config, "--log-level", "error"}, verb...)...)
	cmd.Stdout, cmd.Stderr = d.out, os.Stderr
	err := cmd.Run()
	if cmd.ProcessState == nil {
		return fmt.Errorf("running anycert %s: %w", verb[0], err)
	}
	if got := cmd.ProcessState.ExitCode(); got != code {
		return fmt.Errorf("anycert %s ended with exit code %d instead of %d", verb[0], got, code)
	}
	return nil
}

func (d *demo) introduce() {
	d.say("Real here:")
	for _, part := range d.real {
		d.say("  - %s", part)
	}
	d.say("Standing in:")
	for _, part := range d.standIns {
		d.say("  - %s", part)
	}
	if len(d.missing) > 0 {
		d.say("`make demo REAL=1` builds and uses the real %s (about 15 minutes, once).", strings.Join(d.missing, " and "))
	}
}

func (d *demo) mainJob(ctx context.Context) error {
	d.say("\n1. A wildcard and a host certificate, obtained by DNS-01 into the store and pushed to every sink.")
	if err := d.do(ctx, 0, "sync"); err != nil {
		return err
	}
	if got := len(d.ca.Certificates()); got != 2 {
		return fmt.Errorf("the CA issued %d certificates instead of 2", got)
	}
	return d.do(ctx, 0, "status")
}

func (d *demo) breakAndMend(ctx context.Context) error {
	d.say("\n2. Somebody is careless. Every target is broken in another way:")
	for _, b := range d.breakages() {
		if err := b.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", b.what, err)
		}
		d.say("  - %s", b.what)
	}
	d.say("\n3. An audit names each of them and changes nothing.")
	if err := d.do(ctx, 2, "audit"); err != nil {
		return err
	}
	d.say("\n4. The next pass mends them. The daemon makes one every minute.")
	if err := d.do(ctx, 0, "sync"); err != nil {
		return err
	}
	d.say("\n5. All is well, and a further pass writes nothing.")
	before := d.writes()
	if err := d.do(ctx, 0, "sync"); err != nil {
		return err
	}
	if got := d.writes() - before; got != 0 {
		return fmt.Errorf("a pass over targets that are as promised made %d writes", got)
	}
	return d.do(ctx, 0, "audit")
}

// keep runs the daemon until Ctrl-C.
func (d *demo) keep(ctx context.Context) error {
	anycert, err := filepath.Abs(d.anycert)
	if err != nil {
		return err
	}
	d.say("\nThe daemon runs, with a pass every 10 s; Ctrl-C ends it. In a second terminal, try:\n")
	d.say("  %s --config %s status", anycert, d.config)
	d.say("  chmod 644 %s; %s --config %s audit", filepath.Join(d.files, "example", "privkey.pem"), anycert, d.config)
	d.say("  %s --config %s pull --dir %s\n", anycert, d.config, filepath.Join(os.TempDir(), "anycert-demo-certs"))
	cmd := exec.CommandContext(ctx, d.anycert, "--config", d.config, "run")
	cmd.Stdout, cmd.Stderr = d.out, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 15 * time.Second
	if err := cmd.Run(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("the daemon ended: %w", err)
	}
	return nil
}
