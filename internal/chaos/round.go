package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/anycert/anycert/internal/testenv/process"
)

// programs are the paths of what is run.
type programs struct{ anycert, judge string }

// round is one world whose daemon is killed again and again.
type round struct {
	*world
	programs
	book  *book
	kills int
}

const (
	// chanceOf a kill at a moment that the dice choose: one of so many.
	chanceOf = 4
	// far is how long a call to the CA takes to get there: orders are long enough to be
	// met at any point of them.
	far = 80 * time.Millisecond
	// longest is what a daemon may live, in search of a point that comes along.
	longest = 4 * time.Second
)

// run kills the daemon so many times, lets the last one come to rest, and asks the judge.
func (r *round) run(ctx context.Context) (verdict, error) {
	judge, err := r.startJudge(ctx)
	if err != nil {
		return verdict{}, err
	}
	defer judge.kill()
	r.away.Store(int64(far))
	for range r.kills {
		if err := r.live(ctx); err != nil {
			return verdict{}, err
		}
	}
	r.away.Store(0)
	if err := r.settle(ctx); err != nil {
		return verdict{}, err
	}
	return judge.verdict()
}

// crashed notes a crash, once everything of before has come to its end.
func (r *round) crashed() error {
	r.gate.rest()
	file, err := os.OpenFile(r.path("crashes"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(file, time.Now().Format(time.RFC3339Nano))
	return errors.Join(err, file.Close())
}

// start starts a daemon.
func (r *round) start(armed bool) (*life, error) {
	child, err := process.Start(process.Spec{Name: "anycert", Path: r.anycert, Dir: r.dir,
		Args: []string{"--config", r.path("config.yaml"), "run"}})
	if err != nil {
		return nil, err
	}
	return r.gate.begin(child, armed), nil
}

// live starts a daemon and returns when it was killed.
func (r *round) live(ctx context.Context) error {
	armed, limit := r.book.roll(chanceOf) > 0 && r.book.deal(), longest
	if !armed {
		limit = time.Duration(r.book.roll(int64(longest / 2)))
	}
	life, err := r.start(armed)
	if err != nil {
		return err
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-timer.C:
		life.kill()
		r.book.chance(armed)
	case <-life.child.Done():
	case <-ctx.Done():
		life.kill()
		return context.Cause(ctx)
	}
	<-life.child.Done()
	if !life.ended() {
		return r.quote("the daemon ended by itself")
	}
	return r.crashed()
}

// settle has the CA issue for long, so that what is due is due once more and then no
// more; lets a daemon live until no order is under way and every target serves what the
// store holds; and ends it in such a moment.
func (r *round) settle(ctx context.Context) error {
	if err := r.issueForLong(); err != nil {
		return err
	}
	const patience = 5 * time.Minute
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("it did not come to rest within %s", patience))
	defer cancel()
	for {
		if err := r.liveToRest(ctx); err != nil {
			return err
		}
		if err := r.crashed(); err != nil {
			return err
		}
		if r.atRest(ctx) == nil { // it may have begun an order in its last moment
			return nil
		}
	}
}

// liveToRest lets a daemon live until everything is at rest.
func (r *round) liveToRest(ctx context.Context) error {
	life, err := r.start(false)
	if err != nil {
		return err
	}
	defer life.kill()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return r.quote(fmt.Sprintf("%v: %v", context.Cause(ctx), r.atRest(context.WithoutCancel(ctx))))
		case <-life.child.Done():
			return r.quote("the daemon ended by itself")
		case <-ticker.C:
			if r.atRest(ctx) == nil {
				return nil
			}
		}
	}
}

// quote is an error with the end of the daemon's log.
func (r *round) quote(what string) error {
	text, err := os.ReadFile(r.path("anycert.log"))
	const most = 3000
	if len(text) > most {
		text = text[len(text)-most:]
	}
	return errors.Join(fmt.Errorf("%s; the end of its log:\n%s", what, text), err)
}

// bench is where the judge sits.
type bench struct {
	cmd       *exec.Cmd
	end       func() error
	said, err bytes.Buffer
}

func (r *round) startJudge(ctx context.Context) (*bench, error) {
	text, err := json.MarshalIndent(map[string]any{
		"Records": r.records, "Crashes": r.path("crashes"),
		"Vault": r.vault.Addr, "Token": r.vault.RootToken, "Mount": mount, "Prefix": prefix,
		"Directories": []string{r.path("files")}, "Edge": r.shop, "Roots": r.path("roots.pem"),
		"Certificates": declared(), "Served": sold(),
	}, "", "  ")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(r.path("case.json"), text, 0o600); err != nil {
		return nil, err
	}
	b := &bench{cmd: exec.CommandContext(ctx, r.judge, r.path("case.json"))}
	b.cmd.Stdout, b.cmd.Stderr = &b.said, &b.err
	input, err := b.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	b.end = input.Close
	return b, b.cmd.Start()
}

// verdict tells the judge that the end has come.
func (b *bench) verdict() (v verdict, err error) {
	if err := b.end(); err != nil {
		return v, err
	}
	if err := b.cmd.Wait(); err != nil {
		return v, fmt.Errorf("the judge ended with %w: %s", err, &b.err)
	}
	return v, json.Unmarshal(b.said.Bytes(), &v)
}

func (b *bench) kill() { _ = b.cmd.Process.Kill() }
