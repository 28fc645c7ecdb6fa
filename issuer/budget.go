package issuer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/failures"
	"github.com/anycert/anycert/issuer/limits"
)

// budgets are what is left of the CAs' limits, as it was read last.
type budgets struct {
	mu    sync.Mutex
	known map[string]*limits.Budget // by issuer
}

// budgetRecord is what the store keeps of an issuer: a budget for each directory, since
// an issuer that is moved to another CA is another account there.
type budgetRecord struct {
	Schema  int                       `json:"schema"`
	Budgets map[string]*limits.Budget `json:"budgets"`
}

// budgetSchema is the version of budgetRecord that this code writes, and the highest
// that it reads.
const budgetSchema = 1

// recallBudgets reads what is left at the issuers of certificates that are wanted: of
// others there may be no right to.
func (i *Issuer) recallBudgets(ctx context.Context, wanted []anycert.Wanted) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(i.cas)) {
		if !slices.ContainsFunc(wanted, func(w anycert.Wanted) bool { return slices.Contains(w.Certificate.Issuers(), name) }) {
			continue
		}
		if err := i.recallBudget(ctx, i.cas[name]); err != nil {
			errs = append(errs, fmt.Errorf("issuer %s: %w", name, err))
		}
	}
	return failures.Join(errs...)
}

// recallBudget reads what is left at one issuer.
func (i *Issuer) recallBudget(ctx context.Context, c *ca) error {
	record, _, err := c.loadBudgets(ctx)
	if err != nil {
		return err
	}
	i.budgets.mu.Lock()
	defer i.budgets.mu.Unlock()
	if i.budgets.known == nil {
		i.budgets.known = map[string]*limits.Budget{}
	}
	i.budgets.known[c.Name] = record.of(c.directory)
	return nil
}

// silent tells since when a CA has asked for no orders at all, and until when, by what was
// recalled last.
func (b *budgets) silent(issuer string, now time.Time) (since, until time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if budget := b.known[issuer]; budget != nil {
		return budget.Silent(now)
	}
	return time.Time{}, time.Time{}
}

// spending is what one order takes from the limits of its CA.
type spending struct {
	certificate string // whose order it is: one of each is under way
	names       []string
	exempt      bool // a renewal inside the window that the CA advised, with replaces: it is not counted
	renews      bool // this CA has issued just these names before: it counts less
	urgency     anycert.Urgency
}

func (s spending) order() limits.Order {
	o := limits.Order{Certificate: s.certificate, Names: s.names, Urgent: s.urgency >= anycert.Compromised}
	switch {
	case s.exempt:
		o.Exempt = limits.Advised
	case s.renews:
		o.Exempt = limits.Renewed
	}
	return o
}

// renews reports whether entry was issued by this CA for just the names of certificate.
func (c *ca) renews(certificate anycert.Certificate, entry *anycert.Entry) bool {
	return entry != nil && entry.Leaf != nil && entry.Origin.Issuer == c.Name && entry.Origin.Directory == c.directory &&
		sameNames(entry.Leaf.DNSNames, certificate.Domains)
}

// take takes what a new order needs from the limits, for all processes. It fails with
// a *anycert.PostponedError when there is not enough, and has then taken nothing. What
// it took for the certificate is held until issued or giveBack.
func (c *ca) take(ctx context.Context, order spending, now time.Time) error {
	var wait *limits.Wait
	err := c.changeBudget(ctx, now, func(b *limits.Budget) bool {
		wait = b.Take(c.table(), order.order(), now)
		return wait == nil && !c.table().None()
	})
	if err != nil || wait == nil {
		return err
	}
	return &anycert.PostponedError{Until: wait.Until, Err: errors.New(c.explain(*wait)), Limited: true}
}

// explain tells a wait and what a person can do about it.
func (c *ca) explain(wait limits.Wait) string {
	if wait.Todo == "" {
		return wait.String()
	}
	return wait.String() + ": " + wait.Todo
}

// issued ends what take began, when the CA has issued the certificate.
func (c *ca) issued(ctx context.Context, order spending, now time.Time) error {
	return c.note(ctx, now, func(b *limits.Budget) bool {
		b.Issued(c.table(), order.order(), now)
		return !c.table().None()
	})
}

// giveBack returns what an order that led to no certificate has not used.
func (c *ca) giveBack(ctx context.Context, order spending, now time.Time) error {
	return c.note(ctx, now, func(b *limits.Budget) bool {
		held := b.UnderWay(order.certificate)
		b.GiveBack(order.order())
		return held
	})
}

// failedAuthorization takes note that the CA could not validate names.
func (c *ca) failedAuthorization(ctx context.Context, names []string, now time.Time) error {
	return c.note(ctx, now, func(b *limits.Budget) bool {
		b.Failed(c.table(), names, now)
		return !c.table().None()
	})
}

// obey takes note of a Retry-After that came with a refusal (429, or 503), for all
// processes. What is no such refusal is ignored.
func (c *ca) obey(ctx context.Context, order spending, refusal error, now time.Time) error {
	said := new(caError)
	if !errors.As(refusal, &said) || said.retryAfter <= 0 {
		return nil
	}
	var key string
	switch {
	case said.status == 503:
		key = limits.Everything
	case said.status == 429, said.kind == "rateLimited":
		key = c.table().Refused(order.order(), said.Error())
	default:
		return nil
	}
	return c.note(ctx, now, func(b *limits.Budget) bool {
		b.Block(key, now.Add(said.retryAfter), now, said.Error())
		return true
	})
}

// note is changeBudget for what has happened already: also when ctx has ended.
func (c *ca) note(ctx context.Context, now time.Time, change func(*limits.Budget) bool) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	return c.changeBudget(ctx, now, change)
}

// budgetTries is how often a change is tried anew when other processes change the
// same budget.
const budgetTries = 50

// changeBudget changes this CA's budget, and writes it if change tells so, or if the
// clock that wrote it was wrong. change is called again when another process has
// written meanwhile.
func (c *ca) changeBudget(ctx context.Context, now time.Time, change func(*limits.Budget) bool) error {
	for try := 1; ; try++ {
		record, version, err := c.loadBudgets(ctx)
		if err != nil {
			return err
		}
		budget := record.of(c.directory)
		mended := budget.Tidy(c.table(), now)
		if changed := change(budget); !changed && !mended {
			return nil
		}
		text, err := json.Marshal(record)
		if err != nil {
			return uncounted{fmt.Errorf("writing what is left of the CA's limits: %w", err)}
		}
		_, err = c.records.Save(ctx, anycert.KindBudget, c.Name, version, anycert.NewSecret(string(text)))
		if err == nil {
			return nil
		}
		if !errors.Is(err, anycert.ErrConflict) || try == budgetTries {
			return uncounted{fmt.Errorf("writing what is left of the CA's limits: %w", err)}
		}
		if err := pause(ctx, rand.N(time.Duration(min(try, 10))*10*time.Millisecond)); err != nil {
			return uncounted{fmt.Errorf("writing what is left of the CA's limits: %w", err)}
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// of is the budget of a directory; a full one where none is kept.
func (r *budgetRecord) of(directory string) *limits.Budget {
	if r.Budgets == nil {
		r.Budgets = map[string]*limits.Budget{}
	}
	if r.Budgets[directory] == nil {
		r.Budgets[directory] = new(limits.Budget)
	}
	return r.Budgets[directory]
}

// loadBudgets reads the record of this issuer and its version.
func (c *ca) loadBudgets(ctx context.Context) (*budgetRecord, int, error) {
	record := &budgetRecord{Schema: budgetSchema}
	version, err := form{kind: anycert.KindBudget, schema: budgetSchema, holds: "what is left of the CA's limits",
		record: "what is left of the CA's limits,", cure: ": delete it, and it is counted anew", newer: "upgrade this one"}.load(ctx, c.records, c.Name, record)
	if err != nil {
		return nil, 0, uncounted{err}
	}
	return record, version, nil
}

// table are the limits of the CA.
func (c *ca) table() limits.Table { return c.Limits.Table(c.directory) }
