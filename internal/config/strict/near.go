package strict

import "strings"

// Nearest finds the name that was probably meant: at most two letters wrong, and
// no more than a third of them. It is empty when there is none.
func Nearest(written string, names []string) string {
	best, wrong := "", 3
	for _, name := range names {
		distance := edits(strings.ToLower(written), strings.ToLower(name))
		if distance < wrong && distance*3 <= len(name) {
			best, wrong = name, distance
		}
	}
	return best
}

// edits counts the letters to change, add, leave out or swap with their neighbour
// to come from a to b (optimal string alignment).
func edits(a, b string) int {
	if diff := len(a) - len(b); diff > 2 || diff < -2 {
		return 3 // far enough; also bounds the work for a name of a megabyte
	}
	before, last, row := []int(nil), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, make([]int, len(b)+1)
	}
	return last[len(b)]
}
