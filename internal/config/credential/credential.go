// Package credential reads the secrets that the configuration refers to.
package credential

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/trusted"
)

// fresh is how long a secret is taken to be current.
const fresh = 10 * time.Minute

// Vault reads one field of a secret in Vault: MOUNT/PATH#FIELD.
type Vault interface {
	ReadField(ctx context.Context, place string) (anycert.Secret, error)
}

// New makes the credential behind a reference. vault is asked for references to
// Vault and may be nil where there are none. Nothing is read before the first use.
func New(reference anycert.Reference, vault Vault) anycert.Credential {
	return &credential{reference: reference, vault: vault, turn: make(chan struct{}, 1)}
}

type credential struct {
	reference anycert.Reference
	vault     Vault

	turn chan struct{} // held by the one that reads; the others wait for what it finds

	mu      sync.Mutex
	secret  anycert.Secret
	read    time.Time // zero: not yet, or refused since
	refused int       // how often
}

// Secret implements anycert.Credential. When a secret cannot be read anew, that is
// an error also where an older one is known: whoever took it away meant it.
func (c *credential) Secret(ctx context.Context) (anycert.Secret, error) {
	if secret, ok := c.current(); ok {
		return secret, nil
	}
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return anycert.Secret{}, fmt.Errorf("%s: %w: %w", c.reference, anycert.ErrUnavailable, context.Cause(ctx))
	}
	if secret, ok := c.current(); ok {
		return secret, nil
	}
	c.mu.Lock()
	refused := c.refused
	c.mu.Unlock()
	secret, err := c.fetch(ctx)
	if err == nil && secret.IsZero() {
		err = fmt.Errorf("%w: it is empty", anycert.ErrMalformed)
	}
	if err != nil {
		return anycert.Secret{}, fmt.Errorf("%s: %w", c.reference, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.secret = secret
	if refused == c.refused { // else it may be what was refused meanwhile
		c.read = time.Now()
	}
	return secret, nil
}

// Refused implements anycert.Credential.
func (c *credential) Refused() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read = time.Time{}
	c.refused++
}

func (c *credential) current() (anycert.Secret, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.secret, !c.read.IsZero() && time.Since(c.read) < fresh
}

func (c *credential) fetch(ctx context.Context) (anycert.Secret, error) {
	switch r := c.reference; {
	case r.Env != "":
		text, ok := os.LookupEnv(r.Env)
		if !ok {
			return anycert.Secret{}, errors.New("the variable is not set")
		}
		return anycert.NewSecret(strings.TrimRight(text, "\r\n")), nil
	case r.File != "":
		return readFile(r.File)
	case c.vault == nil:
		return anycert.Secret{}, errors.New("there is no Vault in this configuration")
	default:
		return c.vault.ReadField(ctx, r.Vault)
	}
}

func readFile(path string) (anycert.Secret, error) {
	text, err := trusted.Read(path, trusted.MaxCredential)
	if err != nil {
		return anycert.Secret{}, withoutPath(err)
	}
	return anycert.NewSecret(strings.TrimRight(string(text), "\r\n")), nil
}

// withoutPath leaves out the path, which is in every error already.
func withoutPath(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return anycert.ErrForbidden
	}
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Err
	}
	return err
}
