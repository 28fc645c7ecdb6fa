package main

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/config"
	"github.com/anycert/anycert/issuer"
	"github.com/anycert/anycert/reconcile"
)

func (a *app) csrCommand() *cobra.Command {
	var anew bool
	cmd := &cobra.Command{
		Use:   "csr NAME",
		Short: "Make a request for a CA that people deal with; its key is born in the store",
		Long: `Make a request (PKCS#10) for the certificate NAME, which the configuration declares
without an issuer, and print it: for a CA that people deal with. The key is made here,
is kept in the store, and leaves it for no file. When the certificate has come,

  anycert import NAME --cert FILE

puts both together and into the store, and destroys what waited.

Run again, it prints the same request. When other domains are declared, it makes a
request for them with the same key, so a certificate for either is taken. --new makes a
new key: a certificate for the request before it is of no use then.

Exit code: 0 it was printed, and its key is in the store; 1 it was not made.`,
		Example: `  anycert csr shop > shop.csr
  anycert import shop --cert shop.crt`,
		Args: oneCertificate,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), storeTimeout)
			defer cancel()
			if err := a.csr(ctx, args[0], anew); err != nil {
				return fmt.Errorf("csr: %w", err)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&anew, "new", false, "make another key, and give up the request that waits")
	cmd.ValidArgsFunction = a.certificateNames
	return cmd
}

// csr prints the request on stdout, and says the rest on stderr.
func (a *app) csr(ctx context.Context, name string, anew bool) error {
	path, loaded, err := a.configuration()
	if err != nil {
		return err
	}
	declared, ok := loaded.Certificate(name)
	switch {
	case !ok:
		return undeclaredError(path, loaded, name)
	case declared.Issuer != "":
		return fmt.Errorf("certificate %s: issuer %s obtains it, with a key of its own: take the issuer from it in the configuration if you buy it", name, declared.Issuer)
	}
	store, err := config.OpenStore(loaded, config.Options{Version: version()})
	if err != nil {
		return err
	}
	if opened, ok := store.(session); ok {
		defer a.close(opened)
	}
	records, err := recordsOf(store)
	if err != nil {
		return err
	}
	request, made, err := issuer.Sign(ctx, records, declared, anew, time.Now())
	if err != nil {
		return fmt.Errorf("certificate %s: %w", name, err)
	}
	if err := pem.Encode(a.out, &pem.Block{Type: "CERTIFICATE REQUEST", Bytes: request.DER}); err != nil {
		return fmt.Errorf("the request is in the store, and was not printed: %w: run it again", err)
	}
	what := "the same request as before, made at " + stamp(request.Since)
	if made {
		what = "a new request"
	}
	a.note("%s: %s for %s with a key of type %s, which waits in the store", name, what, strings.Join(request.Domains, " "), request.KeyType)
	a.note("when its certificate has come: anycert import %s --cert FILE", name)
	return nil
}

// note says something beside what is printed for machines.
func (a *app) note(format string, args ...any) {
	fmt.Fprintln(a.errOut, reconcile.Clean(fmt.Sprintf(format, args...)))
}

// recordsOf is the power of a store to keep things beside the certificates.
func recordsOf(store anycert.Store) (anycert.Records, error) {
	records, ok := store.(anycert.Records)
	if !ok {
		return nil, errors.New("this store keeps nothing beside the certificates")
	}
	return records, nil
}
