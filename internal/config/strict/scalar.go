package strict

import (
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"time"

	"github.com/goccy/go-yaml/ast"
)

var durationType = reflect.TypeFor[time.Duration]()

// scalar decodes one value. A text is not taken for a number nor a number for a
// text: `owner: 0123` means something else than it looks like.
func (d *Decoder) scalar(n Node, into reflect.Value) {
	if n.isNull() {
		d.refuse(n, "the value is missing: write one, or leave the field out")
		return
	}
	text, isText := n.text()
	custom, isCustom := into.Addr().Interface().(encoding.TextUnmarshaler)
	switch {
	case isCustom && !isText, into.Kind() == reflect.String && !isText:
		d.refuse(n, "%s", wantText(n))
	case isCustom:
		if err := custom.UnmarshalText([]byte(text)); err != nil {
			d.refuse(n, "%v", err)
		}
	case into.Type() == durationType:
		d.duration(n, text, into)
	case into.Kind() == reflect.String:
		into.SetString(text)
	case into.Kind() == reflect.Bool:
		value, ok := n.node.(*ast.BoolNode)
		if !ok {
			d.refuse(n, "true or false belongs here")
			return
		}
		into.SetBool(value.Value)
	case into.CanInt():
		d.integer(n, into)
	case into.CanFloat():
		d.number(n, into)
	default:
		panic(fmt.Sprintf("strict: %s: cannot decode into %s", n.path, into.Type()))
	}
}

func (d *Decoder) number(n Node, into reflect.Value) {
	switch node := n.node.(type) {
	case *ast.FloatNode:
		into.SetFloat(node.Value)
	case *ast.IntegerNode:
		value, _ := strconv.ParseFloat(node.String(), 64)
		into.SetFloat(value)
	default:
		d.refuse(n, "a number belongs here")
	}
}

// plain is a node as the Go value that it looks like, for types that decode
// themselves and want to know what they are given.
func (n Node) plain() any {
	switch node := n.node.(type) {
	case *ast.MappingNode:
		fields := map[string]any{}
		n.each(func(child Node, name string) { fields[name] = child.plain() })
		return fields
	case *ast.SequenceNode:
		entries := []any{}
		n.each(func(child Node, _ string) { entries = append(entries, child.plain()) })
		return entries
	case *ast.LiteralNode:
		return node.Value.Value
	case ast.ScalarNode:
		return node.GetValue()
	}
	return nil
}

// text is the value of a node that is a text.
func (n Node) text() (string, bool) {
	switch node := n.node.(type) {
	case *ast.StringNode:
		return node.Value, true
	case *ast.LiteralNode:
		return node.Value.Value, true
	}
	return "", false
}

func wantText(n Node) string {
	switch n.node.(type) {
	case *ast.MappingNode, *ast.SequenceNode:
		return "a text belongs here"
	}
	return "a text belongs here: put it in quotes"
}

func (d *Decoder) duration(n Node, text string, into reflect.Value) {
	value, err := time.ParseDuration(text)
	if err != nil {
		d.refuse(n, "a time belongs here, as in 30s, 5m or 1h30m")
		return
	}
	into.SetInt(int64(value))
}

func (d *Decoder) integer(n Node, into reflect.Value) {
	node, ok := n.node.(*ast.IntegerNode)
	if !ok {
		d.refuse(n, "a whole number belongs here")
		return
	}
	switch value := node.Value.(type) {
	case int64:
		if !into.OverflowInt(value) {
			into.SetInt(value)
			return
		}
	case uint64:
		if value < 1<<63 && !into.OverflowInt(int64(value)) {
			into.SetInt(int64(value))
			return
		}
	}
	d.refuse(n, "this number is too large")
}
