package sinktest

import (
	"errors"
	"fmt"
	"iter"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/leak"
)

// Leaks tells which trace of the bundle's private key text shows, in any encoding,
// or nil.
func Leaks(text string, bundle *anycert.Bundle) error {
	search, err := leak.New(leak.Secret{Name: "a private key", PEM: []byte(bundle.KeyPEM().Reveal())})
	if err != nil {
		return err
	}
	if found := search.Bytes("the text", []byte(text)); len(found) > 0 {
		return fmt.Errorf("%v", found)
	}
	return nil
}

// texts are the ways in which an error, and what it wraps, may be printed.
func texts(err error) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, verb := range []string{"%v", "%+v", "%#v", "%q"} {
			for inner := err; inner != nil; inner = errors.Unwrap(inner) {
				if !yield(fmt.Sprintf(verb, inner)) {
					return
				}
			}
		}
	}
}
