package limits

import (
	"encoding/json"
	"errors"
	"slices"
	"time"
)

// latency is how much later than we the CA may count a request for an order. All else
// it counts before we hear of it.
const latency = time.Minute

// held is how long an order of which nothing was heard holds its tokens: the CA keeps
// an order no longer.
const held = 7 * day

// longest is what a CA may ask us to wait.
const longest = 7 * day

// remembered is for how long it is known since when a CA has asked for no orders at all,
// after it last did.
const remembered = day

// Budget is what is left of the limits of one account. It must not be used by several
// goroutines at once. Its JSON is what is kept.
type Budget struct {
	buckets map[string]int64 // when each is full again; all moments in Unix milliseconds
	holds   map[string]hold  // by certificate: orders under way
	blocks  map[string]block
	refills map[string]int64 // by kind of bucket: milliseconds for a token, by the limits that they were filled under
}

// hold is an order under way. The CA takes the tokens of a certificate when it issues
// it, and that of a failure when a validation fails: until one of them has happened,
// they must stay there.
type hold struct {
	Names  []string  `json:"names"`
	Exempt Exemption `json:"exempt,omitempty"`
	Since  int64     `json:"since"`
}

// block is what a CA asked for by Retry-After.
type block struct {
	Since int64  `json:"since,omitempty"` // of that and those just before it
	Until int64  `json:"until"`
	Text  string `json:"text"`
}

// kept is a Budget in JSON.
type kept struct {
	Buckets map[string]int64 `json:"buckets,omitempty"`
	Holds   map[string]hold  `json:"holds,omitempty"`
	Blocks  map[string]block `json:"blocks,omitempty"`
	Refills map[string]int64 `json:"refills,omitempty"`
}

// MarshalJSON implements json.Marshaler.
func (b Budget) MarshalJSON() ([]byte, error) {
	return json.Marshal(kept{b.buckets, b.holds, b.blocks, b.filled()})
}

// UnmarshalJSON implements json.Unmarshaler.
func (b *Budget) UnmarshalJSON(text []byte) error {
	var k kept
	if err := json.Unmarshal(text, &k); err != nil {
		return errors.New("the budget is not readable")
	}
	*b = Budget{k.Buckets, k.Holds, k.Blocks, k.Refills}
	return nil
}

// follow goes over to other limits: what was taken stays taken, and a higher limit leaves
// more of it at once.
func (b *Budget) follow(t Table, now time.Time) {
	at := now.UnixMilli()
	for key, full := range b.buckets {
		before, next := b.refills[kindOf(key)], t.limit(key).refill().Milliseconds()
		if before > 0 && before != next && full > at {
			b.buckets[key] = at + (full-at)*next/before
		}
	}
	b.refills = t.refills()
}

// filled are the refills of the buckets that are kept.
func (b Budget) filled() map[string]int64 {
	filled := map[string]int64{}
	for key := range b.buckets {
		if kind := kindOf(key); b.refills[kind] > 0 {
			filled[kind] = b.refills[kind]
		}
	}
	return filled
}

// Tidy forgets what has no meaning any more: buckets that are full, blocks that are
// over, orders of which nothing was heard for a week. What lies further ahead than any
// limit reaches was written by a clock that was wrong, and is cut back; mended tells
// whether that was so. A Budget that was mended is to be kept, else it is cut back
// again and again and never ends.
func (b *Budget) Tidy(t Table, now time.Time) (mended bool) {
	b.follow(t, now)
	at := now.UnixMilli()
	ahead := func(moment int64, by time.Duration) bool { return moment > at+(by+latency).Milliseconds() }
	for key, full := range b.buckets {
		limit := t.limit(key)
		switch {
		case full <= at || limit.none():
			delete(b.buckets, key)
		case ahead(full, limit.Per):
			b.buckets[key], mended = at+limit.Per.Milliseconds(), true
		}
	}
	for name, h := range b.holds {
		switch {
		case at >= h.Since+held.Milliseconds():
			delete(b.holds, name)
		case ahead(h.Since, 0):
			h.Since, mended = at, true
			b.holds[name] = h
		}
	}
	for key, x := range b.blocks {
		switch {
		case at >= x.Until && key != keyEverything, at >= x.Until+remembered.Milliseconds():
			delete(b.blocks, key)
		case ahead(x.Until, longest):
			x.Since, x.Until, mended = at, at+longest.Milliseconds(), true
			b.blocks[key] = x
		}
	}
	return mended
}

// Take lets an order begin, or tells why it cannot, and has then taken nothing. The
// token of a new order is gone for good. Those of its certificate, and those of
// failures, are held until Issued or GiveBack; an order of the same certificate that
// was never ended is replaced.
func (b *Budget) Take(t Table, o Order, now time.Time) *Wait {
	if wait := b.Look(t, o, now); wait != nil {
		return wait
	}
	for _, n := range t.needs(o) {
		if n.key == keyOrders {
			b.spend(n.key, n.limit, now)
		}
	}
	if b.holds == nil {
		b.holds = map[string]hold{}
	}
	b.holds[o.Certificate] = hold{Names: slices.Clone(o.Names), Exempt: o.Exempt, Since: now.UnixMilli()}
	return nil
}

// Look tells what Take would, and takes nothing.
func (b *Budget) Look(t Table, o Order, now time.Time) (wait *Wait) {
	b.Tidy(t, now)
	later := func(until int64, w Wait) {
		if until > now.UnixMilli() && (wait == nil || time.UnixMilli(until).After(wait.Until)) {
			w.Until, wait = time.UnixMilli(until).UTC(), &w
		}
	}
	under := b.underWay(t, o.Certificate)
	for _, n := range t.needs(o) {
		full := max(b.buckets[n.key], now.UnixMilli()) + int64(under[n.key])*n.limit.refill().Milliseconds()
		later(n.opens(full, now.UnixMilli(), n.keep(o)), n.wait())
	}
	for _, key := range t.blocking(o) {
		if x, ok := b.blocks[key]; ok {
			later(x.Until, x.wait())
		}
	}
	return wait
}

// UnderWay reports whether an order of a certificate has begun and not ended.
func (b *Budget) UnderWay(certificate string) bool {
	_, ok := b.holds[certificate]
	return ok
}

// underWay counts the tokens that orders of other certificates hold, by key.
func (b *Budget) underWay(t Table, but string) map[string]int {
	count := map[string]int{}
	for name, h := range b.holds {
		if name == but {
			continue
		}
		order := Order{Names: h.Names, Exempt: h.Exempt}
		for _, key := range t.costs(order) {
			count[key]++
		}
		for _, name := range distinct(h.Names, base) {
			count[failuresKey(name)]++
		}
	}
	return count
}

// opens is when a bucket that is full at full has a token besides those to keep.
func (n need) opens(full, now int64, keep int) int64 {
	if full <= now {
		return now
	}
	refill, late := n.limit.refill(), time.Duration(0)
	if n.key == keyOrders {
		late = min(latency, refill)
	}
	return max(now, full+(time.Duration(1+keep)*refill-n.limit.Per+late).Milliseconds())
}

// spend takes a token, if there is none as well: a bucket is never more than empty.
func (b *Budget) spend(key string, l Limit, now time.Time) {
	if b.buckets == nil {
		b.buckets = map[string]int64{}
	}
	b.buckets[key] = l.less(b.buckets[key], now.UnixMilli())
}

// less is when a bucket is full again that would be at full and loses a token at a
// moment.
func (l Limit) less(full, at int64) int64 {
	return min(max(full, at)+l.refill().Milliseconds(), at+l.Per.Milliseconds())
}

// GiveBack ends an order that led to no certificate.
func (b *Budget) GiveBack(o Order) { delete(b.holds, o.Certificate) }

// Issued ends an order that led to a certificate.
func (b *Budget) Issued(t Table, o Order, now time.Time) {
	if h, ok := b.holds[o.Certificate]; ok {
		o.Names, o.Exempt = h.Names, h.Exempt
	}
	b.follow(t, now)
	delete(b.holds, o.Certificate)
	if now.UnixMilli() >= b.blocks[keyEverything].Until {
		delete(b.blocks, keyEverything)
	}
	for _, key := range t.costs(o) {
		b.spend(key, t.limit(key), now)
	}
}

// Failed takes note that the validation of names failed, one token for each.
func (b *Budget) Failed(t Table, names []string, now time.Time) {
	b.follow(t, now)
	for _, name := range names {
		if !t.Failures.none() {
			b.spend(failuresKey(name), t.Failures, now)
		}
	}
}

// Block lets nothing of key begin before until, at most a week away. An earlier block
// that lasts longer stays. text is what the CA said.
func (b *Budget) Block(key string, until, now time.Time, text string) {
	if b.blocks == nil {
		b.blocks = map[string]block{}
	}
	if latest := now.Add(longest); until.After(latest) {
		until = latest
	}
	before, lasts := b.blocks[key]
	if before.Until < until.UnixMilli() {
		next := block{Since: now.UnixMilli(), Until: until.UnixMilli(), Text: text}
		if lasts && before.Since > 0 {
			next.Since = before.Since
		}
		b.blocks[key] = next
	}
}

// Silent tells since when the CA has asked for no orders at all, while it issued nothing,
// and until when it still does; zero where it did not, or where it may be asked.
func (b *Budget) Silent(now time.Time) (since, until time.Time) {
	x, ok := b.blocks[keyEverything]
	if !ok || x.Since == 0 {
		return time.Time{}, time.Time{}
	}
	since = time.UnixMilli(x.Since).UTC()
	if x.Until > now.UnixMilli() {
		until = time.UnixMilli(x.Until).UTC()
	}
	return since, until
}

// blocking are the keys of the blocks that concern an order: of what the CA does not
// count, it can have no limit in mind.
func (t Table) blocking(o Order) []string {
	keys := []string{keyEverything, certificateKey(o.Certificate)}
	if t.exempt(o) == Counted {
		keys = append(keys, keyOrders)
		for _, domain := range distinct(o.Names, Registered) {
			keys = append(keys, domainKey(domain))
		}
	}
	if t.exempt(o) != Advised {
		keys = append(keys, setKey(o.Names))
	}
	for _, name := range distinct(o.Names, base) {
		keys = append(keys, failuresKey(name))
	}
	return keys
}
