// Command gen writes docs/config.md, the reference of the configuration, from the
// types that it is decoded into and their comments. A test holds the page up to
// date, so the comment of a field is where its documentation is written.
package main

import (
	"fmt"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// run writes the page to the path that it is given.
func run(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("usage: gen FILE")
	}
	text, err := page(moduleRoot)
	if err != nil {
		return err
	}
	return os.WriteFile(args[0], []byte(text), 0o644)
}

// moduleRoot is where the sources are, from internal/config: go generate and go
// test start a program in the folder of its package.
const moduleRoot = "../.."
