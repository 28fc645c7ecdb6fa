package dns01

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/anycert/anycert/internal/failures"
)

// watch says where a record must be seen before the CA is told.
type watch struct {
	resolver *resolver
	who      Propagation
	timeout  time.Duration
	interval time.Duration
}

// wait returns when values are seen at name everywhere.
func (w watch) wait(ctx context.Context, name string, values []string) error {
	if pause, fixed := w.who.pause(); fixed {
		return sleep(ctx, pause)
	}
	if w.who.recursive() { // until then they say that there is nothing, whatever was written
		w.timeout += w.resolver.absent.left(name, time.Now())
	}
	ctx, cancel := context.WithTimeoutCause(ctx, w.timeout, errTooLate)
	defer cancel()
	pause := min(w.interval, 250*time.Millisecond)
	if w.who.recursive() {
		pause = w.interval // a resolver that is asked too early remembers that there was nothing
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
	var last error
	for {
		err := w.seen(ctx, name, values)
		if err == nil {
			return nil
		}
		if last == nil || ctx.Err() == nil { // a question that was cut off says nothing
			last = err
		}
		if sleep(ctx, pause) != nil {
			return w.gaveUp(ctx, name, last)
		}
		pause = min(2*pause, max(w.interval, 250*time.Millisecond))
	}
}

var errTooLate = errors.New("out of time")

func (w watch) gaveUp(ctx context.Context, name string, last error) error {
	if errors.Is(context.Cause(ctx), errTooLate) {
		return fmt.Errorf("the record at %s was written and is not seen everywhere after %s: %w", strings.TrimSuffix(name, "."), w.timeout, last)
	}
	return context.Cause(ctx)
}

// seen tells which server does not show the values yet, or nil.
func (w watch) seen(ctx context.Context, name string, values []string) error {
	servers, err := w.servers(ctx, name)
	if err != nil {
		return err
	}
	for _, server := range servers {
		found, err := w.ask(ctx, server, name)
		if err != nil {
			return err
		}
		for _, value := range values {
			if !slices.Contains(found, value) {
				return fmt.Errorf("the DNS server %s does not show it", server.name)
			}
		}
	}
	return nil
}

func (w watch) servers(ctx context.Context, name string) ([]nameServer, error) {
	if w.who.recursive() {
		var servers []nameServer
		for _, address := range w.resolver.servers {
			servers = append(servers, nameServer{name: address, addresses: []string{address}})
		}
		return servers, nil
	}
	zone, err := w.resolver.zone(ctx, name)
	if err != nil {
		return nil, err
	}
	return w.resolver.nameServers(ctx, zone)
}

// ask asks a server at the first of its addresses that answers.
func (w watch) ask(ctx context.Context, server nameServer, name string) ([]string, error) {
	var errs []error
	for _, address := range server.addresses {
		found, err := texts(ctx, address, name, w.who.recursive())
		if err == nil {
			return found, nil
		}
		errs = append(errs, err)
	}
	return nil, failures.Join(errs...)
}

// sleep waits unless the context ends first.
func sleep(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
