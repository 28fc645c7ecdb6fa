package main

import (
	"bufio"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
)

// order is one of the CA's records.
type order struct {
	ID          string
	Time        time.Time // when it was made
	Names       []string  // sorted
	Certificate []byte    // DER; empty as long as none was issued
	Due         time.Time // when the CA advises to renew that

	leaf *x509.Certificate
}

func (o order) String() string {
	return fmt.Sprintf("order %s for %s of %s", o.ID, strings.Join(o.Names, " "), o.Time.UTC().Format(clock))
}

const clock = "15:04:05.000"

// orders reads the CA's records, the oldest first.
func (c Case) orders() ([]order, error) {
	response, err := http.Get(c.Records)
	if err != nil {
		return nil, fmt.Errorf("reading the CA's records: %w", err)
	}
	defer response.Body.Close()
	var orders []order
	if err := json.NewDecoder(response.Body).Decode(&orders); err != nil || response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("reading the CA's records: %s: %w", response.Status, err)
	}
	for i, o := range orders {
		if len(o.Certificate) == 0 {
			continue
		}
		if orders[i].leaf, err = x509.ParseCertificate(o.Certificate); err != nil {
			return nil, fmt.Errorf("reading the CA's records: %s: %w", o, err)
		}
	}
	slices.SortStableFunc(orders, func(a, b order) int { return a.Time.Compare(b.Time) })
	return orders, nil
}

// crashes reads when the daemon was killed.
func (c Case) crashes() (times []time.Time, err error) {
	file, err := os.Open(c.Crashes)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		at, err := time.Parse(time.RFC3339Nano, lines.Text())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.Crashes, err)
		}
		times = append(times, at)
	}
	return times, lines.Err()
}

// countOrders looks at the orders for each set of names, one after the other.
func (v *Verdict) countOrders(orders []order, crashes []time.Time) {
	byNames := map[string][]order{}
	for _, o := range orders {
		names := strings.Join(o.Names, " ")
		byNames[names] = append(byNames[names], o)
		if o.leaf != nil {
			v.Certificates++
		}
	}
	for _, names := range sortedKeys(byNames) {
		v.countOrphans(byNames[names], crashes)
		v.countBeyond(byNames[names])
	}
}

// countOrphans finds each order that was left without a certificate for another one,
// though nothing crashed between the two.
func (v *Verdict) countOrphans(orders []order, crashes []time.Time) {
	for i, o := range orders[:len(orders)-1] {
		next := orders[i+1]
		crashed := slices.ContainsFunc(crashes, func(at time.Time) bool { return at.After(o.Time) && at.Before(next.Time) })
		if o.leaf == nil && !crashed {
			v.Orphans = append(v.Orphans, fmt.Sprintf("%s was given up for %s without a crash between them", o, next))
		}
	}
}

// rounding is that of the dates in a certificate, which have no fractions.
const rounding = time.Second

// countBeyond finds each certificate that was issued before the CA advised to renew the
// one before.
func (v *Verdict) countBeyond(orders []order) {
	issued := slices.DeleteFunc(slices.Clone(orders), func(o order) bool { return o.leaf == nil })
	slices.SortStableFunc(issued, func(a, b order) int { return a.leaf.NotBefore.Compare(b.leaf.NotBefore) })
	for i := range max(0, len(issued)-1) {
		old, next := issued[i], issued[i+1]
		if next.leaf.NotBefore.Before(old.Due.Add(-rounding)) {
			v.Beyond = append(v.Beyond, fmt.Sprintf("certificate %x for %s was issued at %s, while %x was due at %s",
				next.leaf.SerialNumber, strings.Join(next.Names, " "), next.leaf.NotBefore.UTC().Format(clock), old.leaf.SerialNumber, old.Due.UTC().Format(clock)))
		}
	}
}

// countKeys finds each certificate whose key is nowhere.
func (v *Verdict) countKeys(orders []order, keys map[string]bool) {
	for _, o := range orders {
		if o.leaf != nil && !keys[string(o.leaf.RawSubjectPublicKeyInfo)] {
			v.KeysLost = append(v.KeysLost, fmt.Sprintf("the CA issued certificate %x (%s), and no version of anything in Vault holds its key", o.leaf.SerialNumber, o))
		}
	}
}
