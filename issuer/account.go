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
// that begin at once find one key in the store, and so have one account. gone is what
// the CA does not take any more: a URL that it does not know, and with a key, an account
// that is to be replaced.
func (c *ca) account(ctx context.Context, gone account) (account, error) {
	if err := c.enter(ctx); err != nil {
		return account{}, err
	}
	defer c.leave()
	mine, err := c.registered(ctx, gone)
	if c.unbound(err) && gone.Key == "" && mine.Key != "" {
		return c.registered(ctx, mine)
	}
	return mine, err
}

// unbound reports whether the CA refuses an account that was made before it wanted
// bindings, and there is one by now. No account can be bound later (RFC 8555, section
// 7.3.4), and a CA may know the key of this one.
func (c *ca) unbound(err error) bool { return c.EAB != nil && isKind(err, "externalAccountRequired") }

// registered is account's work. It returns the account's key when it fails, too.
func (c *ca) registered(ctx context.Context, gone account) (account, error) {
	mine, err := c.keptAccount(ctx, func(mine *account) (changed bool, err error) {
		if mine.Key == "" || mine.Key == gone.Key {
			mine.URL = ""
			mine.Key, err = newKeyPEM(anycert.EC256)
			return true, err
		}
		return false, nil
	})
	if err != nil || mine.URL != "" && mine.URL != gone.URL {
		return mine, err
	}
	c.at(AccountBefore)
	made, err := c.register(ctx, mine)
	if err != nil {
		return mine, err
	}
	c.at(AccountMade)
	return c.keptAccount(ctx, func(kept *account) (changed bool, err error) {
		if kept.Key != mine.Key { // somebody deleted the record meanwhile
			return false, uncounted{fmt.Errorf("the ACME account %s/%s was changed while it was registered: %w", anycert.KindAccount, c.Name, anycert.ErrConflict)}
		}
		changed = kept.URL != made
		kept.URL = made
		return changed, nil
	})
}

// keptAccount reads the account for the CA's directory, lets change change it, and
// writes it. Where another process wrote the record meanwhile, that is done again.
func (c *ca) keptAccount(ctx context.Context, change func(*account) (bool, error)) (account, error) {
	for try := 1; ; try++ {
		known, version, err := c.loadAccounts(ctx)
		if err != nil {
			return account{}, err
		}
		mine := known.Accounts[c.directory]
		changed, err := change(&mine)
		if err != nil || !changed {
			return mine, err
		}
		known.Accounts[c.directory] = mine
		_, err = c.saveAccounts(ctx, known, version)
		if err == nil {
			return mine, nil
		}
		if !errors.Is(err, anycert.ErrConflict) || try == changes {
			return account{}, err
		}
	}
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
	if failure := s.problem(err, hmac); failure != nil && !isKind(failure, "accountDoesNotExist", "externalAccountRequired") {
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
		return "", mend{errors.New("making the ACME account: this CA wants an external account binding: fetch a key identifier and a MAC key at its site and write them as eab")}
	default:
		made, err = s.core.Accounts.New(request)
	}
	if err != nil {
		refused()
		return "", fmt.Errorf("making the ACME account: %w", s.problem(err, hmac))
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
		return "", nil, unreadable(fmt.Errorf("reading eab.hmac: %w", err))
	}
	return secret.Reveal(), credential.Refused, nil
}

func (c *ca) loadAccounts(ctx context.Context) (accounts, int, error) {
	known := accounts{}
	version, err := form{kind: anycert.KindAccount, schema: schema, holds: "the ACME account", record: "the ACME account",
		cure: ": delete it, and a new one is made", newer: "upgrade this one"}.load(ctx, c.records, c.Name, &known)
	if err != nil {
		return accounts{}, 0, uncounted{err}
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
