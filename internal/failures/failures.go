// Package failures joins errors into one line, as they are kept in journals and
// shown in tables.
package failures

import (
	"fmt"
	"strings"
)

// most is how many of the errors are told: an order has up to a hundred domains,
// and when all fail, they mostly fail alike.
const most = 5

// Join is errors.Join, but for a semicolon in the place of a line break, and that
// it tells no more than five.
func Join(errs ...error) error {
	var kept joined
	for _, err := range errs {
		if err != nil {
			kept = append(kept, err)
		}
	}
	switch len(kept) {
	case 0:
		return nil
	case 1:
		return kept[0]
	}
	return kept
}

type joined []error

func (j joined) Error() string {
	var texts []string
	for _, err := range j[:min(len(j), most)] {
		texts = append(texts, err.Error())
	}
	if more := len(j) - most; more > 0 {
		texts = append(texts, fmt.Sprintf("and %d more like these", more))
	}
	return strings.Join(texts, "; ")
}

func (j joined) Unwrap() []error { return j }
