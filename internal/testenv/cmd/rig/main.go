// Command rig builds and finds the real servers that anycert is tested against.
//
//	rig build [PART...]   build what is missing (all of it, or the parts named)
//	rig path [PART...]    print where each built part is
//	rig env               print them as shell variables: VAULT=/…/vault
//	rig packages          install the Debian packages that are missing (as root)
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/anycert/anycert/internal/testenv/parts"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "rig:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		args = []string{"build"}
	}
	wanted := parts.All()
	if len(args) > 1 {
		wanted = nil
		for _, name := range args[1:] {
			wanted = append(wanted, parts.Part(name))
		}
	}
	switch args[0] {
	case "build":
		return parts.Build(ctx, stderr, wanted...)
	case "path":
		return list(stdout, wanted, func(_ parts.Part, path string) string { return path })
	case "env":
		return list(stdout, wanted, func(p parts.Part, path string) string {
			return strings.ToUpper(strings.ReplaceAll(string(p), "-", "_")) + "=" + path
		})
	case "packages":
		return parts.InstallPackages(ctx, stderr)
	}
	return fmt.Errorf("no command %q: build, path, env or packages", args[0])
}

func list(out io.Writer, wanted []parts.Part, line func(parts.Part, string) string) error {
	for _, p := range wanted {
		path, err := parts.Find(p)
		if err != nil {
			return err
		}
		fmt.Fprintln(out, line(p, path))
	}
	return nil
}
