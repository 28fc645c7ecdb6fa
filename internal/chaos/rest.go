package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"time"
)

// issueForLong has the CA issue certificates that are not due again soon. No daemon may
// live.
func (w *world) issueForLong() error {
	before := w.acme.RootPEM(0)
	if err := w.acme.SetProfiles(map[string]time.Duration{"default": 90 * 24 * time.Hour}); err != nil {
		return err
	}
	// A rename: the judge reads it again and again.
	if err := os.WriteFile(w.path("roots.new"), slices.Concat(before, w.acme.RootPEM(0)), 0o600); err != nil {
		return err
	}
	return os.Rename(w.path("roots.new"), w.path("roots.pem"))
}

// atRest tells what is still under way, or nil. It reads Vault and the targets, not
// what the daemon says of itself.
func (w *world) atRest(ctx context.Context) error {
	kv := w.vault.Client().KVv2(mount)
	journals, err := w.vault.Client().Logical().ListWithContext(ctx, mount+"/metadata/"+prefix+"/orders")
	if err != nil {
		return err
	}
	if journals != nil {
		return fmt.Errorf("orders are under way: %v", journals.Data["keys"])
	}
	for name := range declared() {
		entry, err := kv.Get(ctx, prefix+"/certs/"+name)
		if err != nil {
			return err
		}
		chain := []byte(entry.Data["tls.crt"].(string))
		stored, err := os.ReadFile(w.path("files/" + name + "/fullchain.pem"))
		if err != nil || !bytes.Equal(stored, chain) {
			return fmt.Errorf("the directory of %s is behind: %w", name, err)
		}
		for _, domain := range sold()[name] {
			if served, _ := w.fastly.Served(edge, domain); !bytes.Equal(served, chain) {
				return fmt.Errorf("the edge is behind for %s", domain)
			}
		}
	}
	return nil
}
