// Package strict reads YAML that people write into Go structs, and tells every
// mistake at once, each with its line and column.
//
// It understands the part of YAML that a configuration needs: mappings, lists and
// scalars. Anchors, aliases, merges, tags and further documents are refused, so
// that nothing can expand (https://en.wikipedia.org/wiki/Billion_laughs_attack)
// and everything means what it looks like. No message quotes a value: a secret
// that was written into the file by mistake stays there.
//
// The text is parsed by goccy/go-yaml; decoding is done here, since a decoder
// that stops at the first mistake cannot list them all.
package strict

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
)

// MaxBytes bounds a file: about 10,000 certificates.
const MaxBytes = 1 << 20

// Problem is one mistake in a file and where it stands.
type Problem struct {
	Position
	Path string // "sinks[0].config.token"; empty for the file itself
	Text string // what is wrong and what to do, without a full stop

	covers string // path of the field that it is about, unabridged; see Merge
}

// Position counts lines, and characters in a line, from 1.
type Position struct{ Line, Column int }

// Parse reads a text into a tree. The Node is the zero value when there are
// problems.
func Parse(text []byte) (Node, []Problem) {
	file := &source{lines: bytes.Split(text, []byte("\n"))}
	if len(text) > MaxBytes {
		return Node{}, file.problem(Position{}, "the file has %d bytes, %d are allowed", len(text), MaxBytes)
	}
	if at, ok := file.unreadable(); ok {
		return Node{}, file.problem(at, "a character that is no readable UTF-8 text")
	}
	tokens := lexer.Tokenize(string(bytes.TrimPrefix(text, []byte("\ufeff"))))
	if problems := file.guard(tokens); len(problems) > 0 {
		return Node{}, problems
	}
	tree, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey()) // duplicates are told by the decoder
	if err != nil {
		return Node{}, file.syntax(err)
	}
	return file.document(tree)
}

// document picks the one document of a file, which is a mapping.
func (f *source) document(tree *ast.File) (Node, []Problem) {
	var found []*ast.DocumentNode
	for _, document := range tree.Docs {
		if document.Body != nil {
			found = append(found, document)
		}
	}
	switch {
	case len(found) == 0:
		return Node{}, f.problem(Position{}, "the file is empty")
	case len(found) > 1:
		return Node{}, f.problem(f.at(found[1].Start), "a second document begins here: one is allowed")
	}
	root := Node{file: f, node: found[0].Body}
	if !root.isMapping() {
		return Node{}, f.problem(root.start(), "this is no configuration: it begins with fields, as in version: 1")
	}
	return root, nil
}

// syntax takes the place and the sentence out of a parser's error. Its Error
// method would quote the source.
func (f *source) syntax(err error) []Problem {
	var syntax yaml.Error
	if !errors.As(err, &syntax) {
		return f.problem(Position{}, "this is not YAML")
	}
	message := strings.ReplaceAll(syntax.GetMessage(), "\t", `\t`)
	return f.problem(f.at(syntax.GetToken()), "this is not YAML: %s", message)
}

// source is the text of a file, kept to hold positions inside it.
type source struct{ lines [][]byte }

// problem makes a list of one.
func (f *source) problem(at Position, format string, args ...any) []Problem {
	return []Problem{{Position: f.inside(at), Text: fmt.Sprintf(format, args...)}}
}

// inside moves a position to the nearest one that exists: some tokens that the
// parser makes up stand beside the text.
func (f *source) inside(at Position) Position {
	at.Line = min(max(at.Line, 1), len(f.lines))
	width := utf8.RuneCount(bytes.TrimRight(f.lines[at.Line-1], "\r"))
	at.Column = min(max(at.Column, 1), width+1)
	return at
}

// unreadable finds the first byte that is not UTF-8, or a control character that
// YAML does not allow (YAML 1.2.2, section 5.1).
func (f *source) unreadable() (Position, bool) {
	for number, line := range f.lines {
		column := 0
		for len(line) > 0 {
			r, size := utf8.DecodeRune(line)
			column++
			control := r < ' ' && r != '\t' && r != '\r' || r == 0x7f
			if control || r == utf8.RuneError && size == 1 {
				return Position{number + 1, column}, true
			}
			line = line[size:]
		}
	}
	return Position{}, false
}
