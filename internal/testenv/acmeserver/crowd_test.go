package acmeserver_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/go-acme/lego/v4/acme"
	"github.com/go-acme/lego/v4/acme/api"
	"github.com/go-acme/lego/v4/certcrypto"
	"golang.org/x/sync/errgroup"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/acmeserver"
)

// Many who make orders and ask about authorizations at once are all answered.
func TestACrowdIsAnswered(t *testing.T) {
	dns := testenv.DNS(t, "example.com")
	server := testenv.ACME(t, dns.Addr, acmeserver.Options{RejectNonces: -1})
	key, err := certcrypto.GeneratePrivateKey(certcrypto.EC256)
	if err != nil {
		t.Fatal(err)
	}
	client := httpClient(server)
	client.Timeout = 30 * time.Second
	open := func(kid string) *api.Core {
		core, err := api.New(client, "crowd", server.URL, kid, key)
		if err != nil {
			t.Fatal(err)
		}
		return core
	}
	account, err := open("").Accounts.New(acme.Account{TermsOfServiceAgreed: true})
	if err != nil {
		t.Fatal(err)
	}
	var group errgroup.Group
	for n := range 8 {
		core := open(account.Location)
		group.Go(func() error {
			for i := range 25 {
				order, err := core.Orders.New([]string{fmt.Sprintf("a%d-%d.example.com", n, i), fmt.Sprintf("b%d-%d.example.com", n, i)})
				if err != nil {
					return err
				}
				for _, url := range order.Authorizations {
					if _, err := core.Authorizations.Get(url); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
}
