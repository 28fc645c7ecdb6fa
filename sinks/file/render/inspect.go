package render

import (
	"fmt"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"

	"github.com/anycert/anycert"
)

// allowed are the functions that a template may call.
var allowed = []string{"certificate", "secret", "urlquery", "eq", "ne", "and", "or", "not"}

// inspection walks a template's tree, refuses what is not known to be harmless, and
// collects what it asks for.
type inspection struct {
	template     *template.Template
	certificates map[string]bool
	secrets      map[string]bool
	with         int // how many {{with}} are around: only there the dot is something
}

func (i *inspection) whole() error {
	if len(i.template.Templates()) > 1 {
		return fmt.Errorf("template %s: define and block are not allowed: one template makes one file", i.template.Name())
	}
	if i.template.Tree == nil {
		return nil
	}
	return i.node(i.template.Root)
}

func (i *inspection) refuse(n parse.Node, format string, args ...any) error {
	at, _ := i.template.ErrorContext(n)
	return fmt.Errorf("template %s: "+format, append([]any{at}, args...)...)
}

func (i *inspection) node(n parse.Node) error {
	switch n := n.(type) {
	case *parse.ListNode:
		if n == nil {
			return nil
		}
		return each(n.Nodes, i.node)
	case *parse.ActionNode:
		return i.pipe(n.Pipe)
	case *parse.IfNode:
		return i.branch(&n.BranchNode, 0)
	case *parse.WithNode:
		return i.branch(&n.BranchNode, 1)
	case *parse.TextNode, *parse.CommentNode:
		return nil
	}
	return i.refuse(n, "%s is not allowed: there is text, if, with, and {{ … }} with %s", firstWord(n), strings.Join(allowed, ", "))
}

func (i *inspection) branch(n *parse.BranchNode, with int) error {
	if err := i.pipe(n.Pipe); err != nil {
		return err
	}
	i.with += with
	err := i.node(n.List)
	i.with -= with
	if err != nil {
		return err
	}
	return i.node(n.ElseList)
}

func (i *inspection) pipe(n *parse.PipeNode) error {
	return each(n.Cmds, func(c *parse.CommandNode) error { return i.command(n, c) })
}

// command is one call, or one value. The names of certificates and secrets are texts of
// the template: else a secret could be the name of another, and end in an error.
func (i *inspection) command(of *parse.PipeNode, n *parse.CommandNode) error {
	function, ok := n.Args[0].(*parse.IdentifierNode)
	if !ok || function.Ident != "certificate" && function.Ident != "secret" {
		return each(n.Args, i.argument)
	}
	if len(n.Args) != 2 || of.Cmds[0] != n {
		return i.refuse(n, "%s takes one name in quotes, as in {{ %[1]s \"example\" }}", function.Ident)
	}
	name, ok := n.Args[1].(*parse.StringNode)
	if !ok || name.Text == "" {
		return i.refuse(n, "%s takes a name in quotes, as in {{ %[1]s \"example\" }}", function.Ident)
	}
	if function.Ident == "secret" {
		i.secrets[name.Text] = true
		return nil
	}
	if err := anycert.CheckName(name.Text); err != nil {
		return i.refuse(n, "certificate %q: %v", name.Text, err)
	}
	i.certificates[name.Text] = true
	return nil
}

func (i *inspection) argument(n parse.Node) error {
	switch n := n.(type) {
	case *parse.IdentifierNode:
		if slices.Contains(allowed, n.Ident) {
			if n.Ident == "certificate" || n.Ident == "secret" {
				return i.refuse(n, "%s stands in parentheses, as in (%[1]s \"example\")", n.Ident)
			}
			return nil
		}
		return i.refuse(n, "the function %s is not allowed: there is %s", n.Ident, strings.Join(allowed, ", "))
	case *parse.PipeNode:
		return i.pipe(n)
	case *parse.ChainNode:
		return i.argument(n.Node)
	case *parse.DotNode, *parse.FieldNode:
		if i.with == 0 {
			return i.refuse(n, "the dot is nothing here: name what you want, as in {{ (certificate \"example\").fullchain }}")
		}
		return nil
	case *parse.VariableNode:
		if n.Ident[0] == "$" {
			return i.refuse(n, "$ is nothing here: name what you want, as in {{ (certificate \"example\").fullchain }}")
		}
		return nil
	case *parse.StringNode, *parse.NumberNode, *parse.BoolNode:
		return nil
	}
	return i.refuse(n, "%s is not allowed here", firstWord(n))
}

func firstWord(n parse.Node) string {
	word, _, _ := strings.Cut(strings.TrimLeft(n.String(), "{ "), " ")
	return strings.TrimRight(word, "}")
}

func each[N any](nodes []N, check func(N) error) error {
	for _, n := range nodes {
		if err := check(n); err != nil {
			return err
		}
	}
	return nil
}
