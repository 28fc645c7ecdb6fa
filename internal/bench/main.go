// Command bench measures what an unchanged pass costs, with the shipped program, the
// real Vault and the real kube-apiserver:
//
//	go run ./internal/bench [-certificates 100,1000] [-list]
//
// Each certificate is served by a Secret and a directory. With -list the Secrets are
// listed, not read one by one. It prints counts, which are the same on every machine,
// and CPU and memory, which are not: compare the columns with each other. Nothing is
// asserted here; that an unchanged pass writes nothing and reads no key is the business
// of the tests.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/anycert/anycert/internal/testenv/program"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	sizes := flag.String("certificates", "100,1000", "how many certificates, a list")
	list := flag.Bool("list", false, "list the Secrets in one request a pass")
	flag.Parse()
	dir, err := os.MkdirTemp("", "anycert-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "anycert")
	if err := program.Build(ctx, binary); err != nil {
		return err
	}
	var results []result
	for size := range strings.SplitSeq(*sizes, ",") {
		n, err := strconv.Atoi(size)
		if err != nil || n < 1 {
			return fmt.Errorf("-certificates %q: use a list of numbers", *sizes)
		}
		fmt.Fprintf(os.Stderr, "%d certificates …\n", n)
		r, err := measure(ctx, filepath.Join(dir, size), binary, n, *list)
		if err != nil {
			return fmt.Errorf("%d certificates: %w", n, err)
		}
		results = append(results, r)
	}
	print(os.Stdout, results)
	return nil
}
