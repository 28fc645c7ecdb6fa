package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/config"
	"github.com/anycert/anycert/reconcile"
)

// app is what the verbs share: where they write, and the global flags.
type app struct {
	out, errOut io.Writer

	configPath string
	logLevel   string
	logFormat  string
}

// logger writes to stderr, as the flags say.
func (a *app) logger() (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(a.logLevel)); err != nil {
		return nil, fmt.Errorf("--log-level %q: use debug, info, warn or error", a.logLevel)
	}
	options := &slog.HandlerOptions{Level: level}
	switch a.logFormat {
	case "text":
		return slog.New(slog.NewTextHandler(a.errOut, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(a.errOut, options)), nil
	}
	return nil, fmt.Errorf("--log-format %q: use text or json", a.logFormat)
}

// path finds the configuration file.
func (a *app) path() (string, error) {
	if a.configPath != "" {
		return a.configPath, nil
	}
	if path := os.Getenv("ANYCERT_CONFIG"); path != "" {
		return path, nil
	}
	for _, path := range []string{"config.yaml", "/etc/anycert/config.yaml"} {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			return path, nil
		}
	}
	return "", errors.New("no configuration: there is no ./config.yaml and no /etc/anycert/config.yaml; name one with --config or ANYCERT_CONFIG")
}

// open loads the configuration and opens everything that it names. Nothing is asked
// over the network yet.
func (a *app) open() (*config.Graph, error) {
	_, loaded, err := a.configuration()
	if err != nil {
		return nil, err
	}
	return config.Open(loaded, config.Options{Version: version()})
}

// configuration finds the file and loads it.
func (a *app) configuration() (path string, loaded *config.Config, err error) {
	if path, err = a.path(); err != nil {
		return "", nil, err
	}
	loaded, err = load(path)
	return path, loaded, err
}

// load is config.Load, with a word on what to do where there is no such file.
func load(path string) (*config.Config, error) {
	loaded, err := config.Load(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: name another with --config or ANYCERT_CONFIG", err)
	}
	return loaded, err
}

// hub opens the configuration and makes a hub that logs to stderr. The caller calls
// end when it is done with it.
func (a *app) hub() (hub *reconcile.Hub, end func(), err error) {
	log, err := a.logger()
	if err != nil {
		return nil, nil, err
	}
	graph, err := a.open()
	if err != nil {
		return nil, nil, err
	}
	for _, warning := range graph.Warnings {
		log.Warn(warning)
	}
	return reconcile.New(graph.Parts(), log), func() { a.close(graph) }, nil
}

// session is with a store.
type session interface{ Close(context.Context) error }

// close gives the session with the store back, so that no lease is left behind. That
// it cannot is no reason to fail: the lease ends by itself. A missing right is told.
func (a *app) close(s session) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if err := s.Close(ctx); errors.Is(err, anycert.ErrForbidden) {
		fmt.Fprintf(a.errOut, "anycert: the login could not be given back, and ends by itself: %s\n", reconcile.Clean(err.Error()))
	}
}

// paint is colour on a terminal that did not ask for none (https://no-color.org).
func (a *app) paint() reconcile.Paint {
	file, ok := a.out.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return reconcile.Plain
	}
	return reconcile.Colours
}

// output is the -o flag of the verbs that report.
type output struct{ format string }

func (o *output) flag(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&o.format, "output", "o", "text", "`format` of the report: text, json")
	_ = cmd.RegisterFlagCompletionFunc("output", words("text", "json"))
}

func (o *output) check() error {
	if o.format != "text" && o.format != "json" {
		return fmt.Errorf("--output %q: use text or json", o.format)
	}
	return nil
}

// write shows a report as JSON, or to people by text.
func (o *output) write(w io.Writer, report any, text func()) error {
	if o.format != "json" {
		text()
		return nil
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(report)
}
