package strict

import (
	"github.com/goccy/go-yaml/token"
)

// Bounds on the shape of a file. The parser's work grows with the square of each;
// a configuration comes near none.
const (
	maxFlow   = 32   // brackets and braces open at once
	maxDashes = 8    // "- - -" on one line
	maxFields = 1000 // fields of one mapping
)

// guard looks at the tokens before they are parsed, refuses what has no place in a
// configuration, and keeps the parser from work that never ends.
func (f *source) guard(tokens token.Tokens) []Problem {
	g := guard{source: f}
	for _, tk := range tokens {
		if tk.Type == token.CommentType {
			continue
		}
		if text := refusal(tk); text != "" {
			g.refuse(tk, text)
		}
		g.shape(tk)
	}
	return g.problems
}

// guard is the state of one look over the tokens of a file.
type guard struct {
	source   *source
	problems []Problem
	full     bool // of problems about the shape; one is enough

	flow   int      // open brackets and braces
	line   int      // of the last token
	dashes int      // on that line
	open   []column // block mappings that the last line is part of
}

// column counts the lines that begin in a column, as long as none begins further
// left: the fields of one block mapping, or the entries of one list.
type column struct{ number, lines int }

func (g *guard) refuse(tk *token.Token, text string) {
	g.problems = append(g.problems, Problem{Position: g.source.at(tk), Text: text})
}

// refusal tells why a token has no place in a configuration; "" when it has.
func refusal(tk *token.Token) string {
	switch tk.Type {
	case token.AnchorType:
		return `a value that begins with & needs quotes (YAML anchors are not used here)`
	case token.AliasType:
		return `a value that begins with * needs quotes, as in "*.example.com" (YAML aliases are not used here)`
	case token.MergeKeyType:
		return `<< is not used here: write the fields out`
	case token.TagType:
		return `a value that begins with ! needs quotes (YAML tags are not used here)`
	case token.DirectiveType:
		return `a line that begins with % is not used here`
	case token.MappingKeyType:
		return `a value that begins with ? needs quotes (YAML's long form of a field is not used here)`
	}
	return ""
}

// shape counts depths and widths.
func (g *guard) shape(tk *token.Token) {
	switch tk.Type {
	case token.MappingStartType, token.SequenceStartType:
		g.flow++
	case token.MappingEndType, token.SequenceEndType:
		g.flow--
	}
	first := tk.Position.Line != g.line
	if first {
		g.line, g.dashes = tk.Position.Line, 0
	}
	if tk.Type == token.SequenceEntryType {
		g.dashes++
	}
	if first && tk.Type != token.SequenceEntryType && g.flow == 0 {
		g.count(tk.Position.Column)
	} else if first {
		g.leave(tk.Position.Column - 1)
	}
	switch {
	case g.full:
	case g.flow > maxFlow || g.dashes > maxDashes:
		g.refuse(tk, "this is nested too deeply")
		g.full = true
	case len(g.open) > 0 && g.open[len(g.open)-1].lines > maxFields:
		g.refuse(tk, "this has too many fields")
		g.full = true
	}
}

// count notes that a line begins in a column.
func (g *guard) count(number int) {
	g.leave(number)
	if last := len(g.open) - 1; last < 0 || g.open[last].number < number {
		g.open = append(g.open, column{number: number})
	}
	g.open[len(g.open)-1].lines++
}

// leave ends the mappings that stand further right than a column.
func (g *guard) leave(number int) {
	for len(g.open) > 0 && g.open[len(g.open)-1].number > number {
		g.open = g.open[:len(g.open)-1]
	}
}
