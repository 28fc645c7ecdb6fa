package strict

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// Node is a part of a file. A struct field of this type keeps its part undecoded,
// for a later Decode into a type that is known only then.
type Node struct {
	file *source
	node ast.Node
	key  *token.Token // of the field that holds it; nil in a list and for the file
	path string
}

// IsZero reports whether the part is not there.
func (n Node) IsZero() bool { return n.node == nil }

// Path is where the node is in its file: "sinks[0].config".
func (n Node) Path() string { return n.path }

// Problem is a mistake at a path below the node, placed at the value that stands
// there, or at the nearest field around it when it is missing.
func (n Node) Problem(path, text string) Problem {
	whole := join(n.path, path)
	return Problem{Position: n.find(path), Path: shownPath(whole), Text: text, covers: whole}
}

// Child is the node at a path below; the zero Node when there is none.
func (n Node) Child(path string) Node {
	for path != "" && !n.IsZero() {
		n, path = n.step(path)
	}
	return n
}

func (n Node) find(path string) Position {
	for path != "" {
		next, rest := n.step(path)
		if next.IsZero() {
			return n.field()
		}
		n, path = next, rest
	}
	return n.start()
}

// step goes one field or entry down. A field's name may have dots in it, as
// labels do: the longest that fits wins.
func (n Node) step(path string) (Node, string) {
	if list, ok := n.node.(*ast.SequenceNode); ok {
		return n.entry(list, path)
	}
	best, rest := Node{}, ""
	n.each(func(child Node, name string) {
		after, ok := strings.CutPrefix(path, name)
		if !ok || after != "" && after[0] != '.' && after[0] != '[' {
			return
		}
		if best.IsZero() || len(after) < len(rest) {
			best, rest = child, after
		}
	})
	return best, strings.TrimPrefix(rest, ".")
}

// entry goes from a list to one of its entries.
func (n Node) entry(list *ast.SequenceNode, path string) (Node, string) {
	index, rest, _ := strings.Cut(strings.TrimPrefix(path, "["), "]")
	i, err := strconv.Atoi(index)
	if err != nil || i < 0 || i >= len(list.Values) {
		return Node{}, ""
	}
	return Node{n.file, list.Values[i], nil, fmt.Sprintf("%s[%d]", n.path, i)}, strings.TrimPrefix(rest, ".")
}

// each visits what is directly below a node, with the name that it has in a path.
func (n Node) each(visit func(child Node, name string)) {
	switch node := n.node.(type) {
	case *ast.MappingNode:
		for _, pair := range node.Values {
			name := keyText(pair.Key)
			visit(Node{n.file, pair.Value, pair.Key.GetToken(), join(n.path, name)}, name)
		}
	case *ast.SequenceNode:
		for i, entry := range node.Values {
			name := fmt.Sprintf("[%d]", i)
			visit(Node{n.file, entry, nil, n.path + name}, name)
		}
	}
}

// start is where a value begins.
func (n Node) start() Position {
	switch node := n.node.(type) {
	case nil:
		return n.file.inside(Position{})
	case *ast.MappingNode:
		if !node.IsFlowStyle && len(node.Values) > 0 {
			return n.file.at(node.Values[0].Key.GetToken())
		}
	case *ast.NullNode:
		return n.field() // an empty value has no place of its own
	}
	return n.file.at(n.node.GetToken())
}

// field is where the field begins that holds a value.
func (n Node) field() Position {
	if n.key != nil {
		return n.file.at(n.key)
	}
	if _, empty := n.node.(*ast.NullNode); empty {
		return n.file.at(n.node.GetToken())
	}
	return n.start()
}

// keyText is the name of a field.
func keyText(key ast.MapKeyNode) string {
	if scalar, ok := key.(ast.ScalarNode); ok {
		return fmt.Sprint(scalar.GetValue())
	}
	return ""
}

// join makes a path of two.
func join(path, below string) string {
	if path == "" || below == "" || below[0] == '[' {
		return path + below
	}
	return path + "." + below
}

func (f *source) at(tk *token.Token) Position {
	if tk == nil || tk.Position == nil {
		return f.inside(Position{})
	}
	return f.inside(Position{tk.Position.Line, tk.Position.Column})
}
