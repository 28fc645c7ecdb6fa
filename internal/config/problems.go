package config

import (
	"fmt"
	"strings"

	"github.com/anycert/anycert/internal/config/strict"
)

// Problem is one mistake in a file.
type Problem struct {
	File   string // as it was named to Load
	Line   int    // from 1
	Column int    // in characters, from 1
	Text   string // the field, what is wrong with it, and what to do; never a secret
}

func (p Problem) String() string {
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Text)
}

// Problems are all mistakes of a file, in its order.
type Problems []Problem

// Error has one line for each.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, problem := range p {
		lines[i] = problem.String()
	}
	return strings.Join(lines, "\n")
}

// problemsOf is nil, not an empty list, where there are none.
func problemsOf(file string, found []strict.Problem) error {
	if len(found) == 0 {
		return nil
	}
	problems := make(Problems, len(found))
	for i, problem := range found {
		text := problem.Text
		if problem.Path != "" {
			text = problem.Path + ": " + text
		}
		problems[i] = Problem{file, problem.Line, problem.Column, text}
	}
	return problems
}
