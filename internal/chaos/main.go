// Command chaos kills the shipped daemon, a thousand times, and shows what is lost:
// nothing.
//
//	go run ./internal/chaos [-kills 1000] [-seed N]
//
// Between the daemon and the real Vault, Pebble with its nonce errors on, a DNS server
// with updates and the stand-in for Fastly there is a gate. It names each call, and
// kills the daemon with SIGKILL just before a call leaves it, or when the other side
// has answered and the daemon has not heard of it: at every such point that was ever
// seen, again and again, and at moments that the dice choose; and, on Linux, just after
// it has done something to a file. Each kill is followed by a new daemon. The CA advises
// to renew each certificate after seconds, so that there is always an order under way. A
// judge that shares no code with the daemon (see package judge beside this) looks at the
// targets all the time and at everything in the end; first it is shown a daemon whose
// journal is switched off.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

// each is how many kills one world sees. A new one begins with nothing again: no
// account, no certificate, no version.
const each = 50

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("chaos", flag.ContinueOnError)
	kills := flags.Int("kills", 1000, "how often the daemon is killed")
	seed := flags.Uint64("seed", rand.Uint64()%1_000_000, "of the dice")
	program := flags.String("anycert", "", "the program to kill; default: it is built")
	keep := flags.String("dir", "", "where the worlds are left to be looked at; default: removed")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir := *keep
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "anycert-chaos-"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	}
	fmt.Fprintf(out, "seed %d\n", *seed)
	built, err := build(ctx, dir, *program)
	if err != nil {
		return err
	}
	if err := tryJudge(ctx, dir, built, out); err != nil {
		return err
	}
	b, sum, begun := newBook(*seed), verdict{}, time.Now()
	for done := 0; done < *kills; done += each {
		one, err := play(ctx, filepath.Join(dir, fmt.Sprint("world", done/each+1)), built, b, min(each, *kills-done))
		if err != nil {
			return err
		}
		sum.add(one)
		fmt.Fprintf(os.Stderr, "%d kills, %s: %s\n", sum.Crashes, time.Since(begun).Round(time.Second), one.short())
	}
	b.print(out)
	sum.print(out)
	return sum.err()
}

// tryJudge shows the judge a daemon without a journal, which it must see.
func tryJudge(ctx context.Context, dir string, built programs, out io.Writer) error {
	binary, err := buildBroken(ctx, dir)
	if err != nil {
		return err
	}
	const kills = 5
	b := newBook(0)
	b.only = []point{{call: "acme finalize", after: true}}
	v, err := play(ctx, filepath.Join(dir, "broken-world"), programs{binary, built.judge}, b, kills)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "\nThe judge is shown a daemon whose journal is switched off:")
	v.print(out)
	if len(v.KeysLost) == 0 {
		return errors.New("the judge did not see that keys were lost")
	}
	fmt.Fprintln(out, "It was seen. And the daemon that is shipped:")
	return nil
}

// play is one world from its beginning to the verdict.
func play(ctx context.Context, dir string, built programs, b *book, kills int) (verdict, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return verdict{}, err
	}
	w, err := newWorld(ctx, dir, b)
	if err != nil {
		return verdict{}, err
	}
	defer w.close()
	r := &round{world: w, programs: built, book: b, kills: kills}
	return r.run(ctx)
}
