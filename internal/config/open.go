package config

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/config/credential"
	"github.com/anycert/anycert/issuer"
	"github.com/anycert/anycert/store"
)

// Options are what a graph is given beside its configuration.
type Options struct {
	// Version of anycert, as others see it in "anycert/<version>".
	Version string
	// Getenv is the process's environment; os.Getenv when nil.
	Getenv func(name string) string
	// At is called at each point of an order, for tests that end the process
	// there; nil otherwise.
	At func(issuer.Point)
}

func (o Options) userAgent() string { return "anycert/" + cmp.Or(o.Version, "devel") }

func (o Options) getenv(name string) string {
	if o.Getenv != nil {
		return o.Getenv(name)
	}
	return os.Getenv(name)
}

// opened is a store with what comes with it.
type opened struct {
	store       anycert.Store
	records     anycert.Records
	credentials func(anycert.Reference) anycert.Credential
	close       func(context.Context) error
}

// OpenStore makes the store of a configuration and nothing else.
func OpenStore(c *Config, options Options) (anycert.Store, error) {
	opened, err := c.openStore(options)
	if err != nil {
		return nil, err
	}
	return opened.store, nil
}

// StoreFromEnvironment makes the store that VAULT_ADDR, VAULT_TOKEN or
// ~/.vault-token, VAULT_CACERT and VAULT_NAMESPACE name.
func StoreFromEnvironment(options Options) (anycert.Store, error) {
	if options.getenv("VAULT_ADDR") == "" {
		return nil, errors.New("VAULT_ADDR is not set")
	}
	return OpenStore(&Config{Store: Store{Vault: new(store.Config)}}, options)
}

func (c *Config) openStore(options Options) (opened, error) {
	if c.Store.Local != nil {
		local, err := c.Store.Local.Open()
		if err != nil {
			return opened{}, c.in(err)
		}
		return opened{local, local, credentials(nil), func(context.Context) error { return nil }}, nil
	}
	home, _ := os.UserHomeDir() // without one there is no ~/.vault-token
	vault, err := c.Store.Vault.Open(store.Env{
		Getenv:     options.getenv,
		Home:       home,
		UserAgent:  options.userAgent(),
		Credential: credentials(nil), // what opens Vault is not in it
	})
	if err != nil {
		return opened{}, c.in(err)
	}
	return opened{vault, vault, credentials(vault), vault.Close}, nil
}

// in says which file an error is about, where there is one.
func (c *Config) in(err error) error {
	if c.file == "" {
		return err
	}
	return fmt.Errorf("%s: %w", c.file, err)
}

// credentials makes one Credential for each reference, however many parts share it:
// it is read once for all, and a refusal by one makes all read anew.
func credentials(vault credential.Vault) func(anycert.Reference) anycert.Credential {
	var mu sync.Mutex
	made := map[anycert.Reference]anycert.Credential{}
	return func(reference anycert.Reference) anycert.Credential {
		mu.Lock()
		defer mu.Unlock()
		if made[reference] == nil {
			made[reference] = credential.New(reference, vault)
		}
		return made[reference]
	}
}
