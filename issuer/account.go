package issuer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/go-acme/lego/v4/acme"

	"github.com/anycert/anycert"
)

// accounts are the ACME accounts of one issuer, by directory: an issuer that is
// moved to another CA and back finds its account again.
type accounts struct {
	Schema   int                `json:"schema"`
	Accounts map[string]account `json:"accounts"`
}

// account is known to the CA by its key alone: with the key, its URL can be found
// again (RFC 8555, section 7.3.1).
type account struct {
	Key string `json:"key"`           // PKCS#8, PEM
	URL string `json:"url,omitempty"` // empty until the CA has answered
}

// account returns the issuer's account, which is made at first use. Processes
// that begin at once find one key in the store, and so have one account. gone is
// a URL that the CA does not know any more.
func (c *ca) account(ctx context.Context, gone string) (account, error) {
	if err := c.enter(ctx); err != nil {
		return account{}, err
	}
	defer c.leave()
	known, version, err := c.loadAccounts(ctx)
	if err != nil {
		return account{}, err
	}
	mine, ok := known.Accounts[c.directory]
	if !ok {
		if mine.Key, err = newKeyPEM(anycert.EC256); err != nil {
			return account{}, err
		}
		known.Accounts[c.directory] = mine
		version, err = c.saveAccounts(ctx, known, version)
		if errors.Is(err, anycert.ErrConflict) {
			if known, version, err = c.loadAccounts(ctx); err == nil {
				mine = known.Accounts[c.directory]
			}
		}
		if err != nil {
			return account{}, err
		}
	}
	if mine.URL != "" && mine.URL != gone {
		return mine, nil
	}
	if mine.URL, err = c.register(ctx, mine); err != nil {
		return account{}, err
	}
	known.Accounts[c.directory] = mine
	if _, err := c.saveAccounts(ctx, known, version); err != nil && !errors.Is(err, anycert.ErrConflict) {
		return account{}, err
	}
	return mine, nil // on a conflict another process wrote the same
}

func newKeyPEM(kind anycert.KeyType) (string, error) {
	key, err := kind.Generate()
	if err != nil {
		return "", fmt.Errorf("making a key: %w", err)
	}
	text, err := anycert.MarshalKey(key)
	if err != nil {
		return "", err
	}
	return text.Reveal(), nil
}

// register asks the CA for the account of a key, and for a new one if there is
// none. An account that exists needs no binding: bindings may be good for once.
func (c *ca) register(ctx context.Context, mine account) (url string, err error) {
	s, err := c.open(ctx, account{Key: mine.Key})
	if err != nil {
		return "", err
	}
	hmac, refused, err := c.bindingKey(ctx)
	if err != nil {
		return "", err
	}
	existing, err := s.core.Accounts.New(acme.Account{OnlyReturnExisting: true})
	if err == nil && existing.Location != "" {
		return existing.Location, nil
	}
	if failure := problem(err, hmac); failure != nil && !isKind(failure, "accountDoesNotExist", "externalAccountRequired") {
		return "", fmt.Errorf("looking for the ACME account: %w", failure)
	}
	request := acme.Account{TermsOfServiceAgreed: true, Contact: []string{}}
	if c.Email != "" {
		request.Contact = []string{"mailto:" + c.Email}
	}
	var made acme.ExtendedAccount
	switch {
	case c.EAB != nil:
		made, err = s.core.Accounts.NewEAB(request, c.EAB.KID, hmac)
	case s.core.GetDirectory().Meta.ExternalAccountRequired:
		return "", errors.New("making the ACME account: this CA wants an external account binding: fetch a key identifier and a MAC key at its site and write them as eab")
	default:
		made, err = s.core.Accounts.New(request)
	}
	if err != nil {
		refused()
		return "", fmt.Errorf("making the ACME account: %w", problem(err, hmac))
	}
	if made.Location == "" {
		return "", errors.New("making the ACME account: the CA does not tell the account's URL")
	}
	return made.Location, nil
}

// bindingKey is the MAC key of the external account binding, and what to call
// when it is refused; empty when none is configured.
func (c *ca) bindingKey(ctx context.Context) (hmac string, refused func(), err error) {
	if c.EAB == nil {
		return "", func() {}, nil
	}
	credential := c.credential(c.EAB.HMAC)
	secret, err := credential.Secret(ctx)
	if err != nil {
		return "", nil, uncounted{fmt.Errorf("reading eab.hmac: %w", err)}
	}
	return secret.Reveal(), credential.Refused, nil
}

func (c *ca) loadAccounts(ctx context.Context) (accounts, int, error) {
	known := accounts{}
	text, version, err := c.records.Load(ctx, anycert.KindAccount, c.Name)
	switch {
	case errors.Is(err, anycert.ErrNotFound):
	case err != nil:
		return accounts{}, 0, uncounted{fmt.Errorf("reading the ACME account: %w", err)}
	default:
		if err := json.Unmarshal([]byte(text.Reveal()), &known); err != nil || known.Schema < 1 { // err may quote a key
			return accounts{}, 0, uncounted{fmt.Errorf("the ACME account %s/%s is not readable: delete it, and a new one is made: %w", anycert.KindAccount, c.Name, anycert.ErrMalformed)}
		}
		if known.Schema > schema {
			return accounts{}, 0, uncounted{fmt.Errorf("the ACME account %s/%s was written by a newer anycert: upgrade this one", anycert.KindAccount, c.Name)}
		}
	}
	if known.Accounts == nil {
		known.Accounts = map[string]account{}
	}
	return known, version, nil
}

func (c *ca) saveAccounts(ctx context.Context, known accounts, version int) (int, error) {
	known.Schema = schema
	text, err := json.Marshal(known)
	if err != nil {
		return 0, fmt.Errorf("writing the ACME account: %w", err)
	}
	version, err = c.records.Save(ctx, anycert.KindAccount, c.Name, version, anycert.NewSecret(string(text)))
	if err != nil {
		return 0, uncounted{fmt.Errorf("writing the ACME account: %w", err)}
	}
	return version, nil
}
