package strict

import (
	"cmp"
	"iter"
	"slices"
)

// Merge puts the mistakes of decoding and those that checks found afterwards into
// the order of the file. It leaves out what a check says of a field that could not
// be read: that "adress" was meant to be "address" and that there is no address is
// one mistake.
func Merge(decoded, checked []Problem) []Problem {
	all := slices.Clone(decoded)
	unread, around := map[string]bool{}, map[string]bool{}
	for _, problem := range decoded {
		unread[problem.covers] = problem.covers != ""
		for outer := range enclosing(problem.covers) {
			around[outer] = true
		}
	}
	for _, problem := range checked {
		follows := unread[problem.covers] || around[problem.covers]
		for outer := range enclosing(problem.covers) {
			follows = follows || unread[outer]
		}
		if !follows {
			all = append(all, problem)
		}
	}
	slices.SortStableFunc(all, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Text, b.Text))
	})
	return slices.CompactFunc(all, func(a, b Problem) bool {
		return a.Position == b.Position && a.Path == b.Path && a.Text == b.Text
	})
}

// enclosing yields the paths around a path, without that of the file.
func enclosing(path string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := 1; i < len(path); i++ {
			if (path[i] == '.' || path[i] == '[') && !yield(path[:i]) {
				return
			}
		}
	}
}
