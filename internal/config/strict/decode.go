package strict

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/anycert/anycert"
)

// Decoder fills Go values from nodes and keeps what it met. The zero value is ready.
type Decoder struct {
	Problems   []Problem
	References []Reference
}

// Reference is a reference to a secret and where it stands.
type Reference struct {
	anycert.Reference
	Path string
}

// Decode fills into, a pointer, from a node, and notes every mistake: unknown and
// repeated fields, values of the wrong type, references that cannot be right. What
// is right is filled in even so; what the file leaves out keeps its value.
//
// Fields go by their yaml tag, also those of structs with ",inline". Types with
// UnmarshalText, or with UnmarshalYAML(func(any) error), decode themselves. A type
// that cannot be decoded into is a mistake of the programmer and panics.
func (d *Decoder) Decode(n Node, into any) {
	if !n.IsZero() {
		d.value(n, reflect.ValueOf(into).Elem())
	}
}

func (d *Decoder) refuse(n Node, format string, args ...any) {
	d.add(n.start(), n.path, n.path, fmt.Sprintf(format, args...))
}

func (d *Decoder) add(at Position, path, covers, text string) {
	d.Problems = append(d.Problems, Problem{Position: at, Path: shownPath(path), Text: text, covers: covers})
}

type (
	// unmarshaler is a type that decodes itself, of several shapes mostly.
	unmarshaler interface {
		UnmarshalYAML(unmarshal func(any) error) error
	}
	// speller is a type that reads a scalar as it is spelled: 0640.
	speller interface {
		UnmarshalYAML(text []byte) error
	}
)

var (
	nodeType      = reflect.TypeFor[Node]()
	referenceType = reflect.TypeFor[anycert.Reference]()
	textType      = reflect.TypeFor[encoding.TextUnmarshaler]()
	customType    = reflect.TypeFor[unmarshaler]()
	spellerType   = reflect.TypeFor[speller]()
)

func (d *Decoder) value(n Node, into reflect.Value) {
	kind := into.Type()
	switch {
	case kind == nodeType:
		into.Set(reflect.ValueOf(n))
	case kind == referenceType:
		d.reference(n, into)
	case reflect.PointerTo(kind).Implements(customType):
		d.custom(n, into)
	case reflect.PointerTo(kind).Implements(spellerType):
		d.spelled(n, into)
	case kind.Kind() == reflect.Interface:
		if value := n.plain(); value != nil {
			into.Set(reflect.ValueOf(value))
		}
	case reflect.PointerTo(kind).Implements(textType):
		d.scalar(n, into)
	case kind.Kind() == reflect.Pointer:
		into.Set(reflect.New(kind.Elem()))
		d.value(n, into.Elem())
	case kind.Kind() == reflect.Struct:
		d.structure(n, into)
	case kind.Kind() == reflect.Map:
		d.mapping(n, into)
	case kind.Kind() == reflect.Slice:
		d.list(n, into)
	default:
		d.scalar(n, into)
	}
}

// structure decodes a mapping with known fields. An empty value is the same as
// fields that are all left out.
func (d *Decoder) structure(n Node, into reflect.Value) {
	if n.isNull() {
		return
	}
	if !n.isMapping() {
		d.refuse(n, "fields belong here: %s", strings.Join(fieldNames(into.Type()), ", "))
		return
	}
	d.fields(n, into, "")
}

// fields decodes each field of a mapping once. hint takes the place of the
// sentence about an unknown field where its name must not be shown.
func (d *Decoder) fields(n Node, into reflect.Value, hint string) {
	fields, known := Fields(into.Type()), fieldNames(into.Type())
	seen := map[string]Position{}
	n.each(func(child Node, name string) {
		i := slices.IndexFunc(fields, func(f Field) bool { return f.Name == name })
		if i < 0 {
			d.unknown(n, child, name, known, hint)
			return
		}
		if d.repeated(child, name, seen) {
			return
		}
		d.value(child, into.FieldByIndex(fields[i].Index))
	})
}

// shown are names that may be repeated in a message: what someone took for the
// name of a field, and hardly ever a secret in its place.
var shown = regexp.MustCompile(`^[A-Za-z_-]{1,40}$`)

func (d *Decoder) unknown(parent, child Node, name string, known []string, hint string) {
	text, covers := "", child.path
	near := Nearest(name, known)
	switch {
	case hint != "":
		text = hint
	case near != "":
		text = fmt.Sprintf("unknown field %q: did you mean %q?", name, near)
		covers = join(parent.path, near) // its absence is not told as well
	case shown.MatchString(name):
		text = fmt.Sprintf("unknown field %q: here belong %s", name, strings.Join(known, ", "))
	default:
		text = "unknown field: here belong " + strings.Join(known, ", ")
	}
	d.add(child.field(), parent.path, covers, text)
}

// shownPath cuts a path where it holds more than names: what someone has written
// in the place of one may be a secret.
func shownPath(path string) string {
	named := strings.TrimLeft(path, nameLetters)
	if named == "" {
		return path
	}
	return strings.TrimSuffix(path, named) + "…"
}

const nameLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./[]"

// repeated tells a field that is there twice. The second is not decoded.
func (d *Decoder) repeated(child Node, name string, seen map[string]Position) bool {
	first, twice := seen[name]
	if twice {
		d.add(child.field(), child.path, child.path, fmt.Sprintf("this field is there twice: first on line %d", first.Line))
		return true
	}
	seen[name] = child.field()
	return false
}

// mapping decodes a mapping whose names are free.
func (d *Decoder) mapping(n Node, into reflect.Value) {
	if n.isNull() {
		return
	}
	if !n.isMapping() {
		d.refuse(n, "fields belong here: name: value")
		return
	}
	into.Set(reflect.MakeMap(into.Type()))
	seen := map[string]Position{}
	n.each(func(child Node, name string) {
		if d.repeated(child, name, seen) {
			return
		}
		if child.isNull() { // {NAME=secret} looks like this: its name is not shown
			d.add(child.field(), n.path, child.path, "a value is missing here: write name: value")
			return
		}
		value := reflect.New(into.Type().Elem()).Elem()
		d.value(child, value)
		into.SetMapIndex(reflect.ValueOf(name).Convert(into.Type().Key()), value)
	})
}

func (d *Decoder) list(n Node, into reflect.Value) {
	if n.isNull() {
		return
	}
	if _, ok := n.node.(*ast.SequenceNode); !ok {
		d.refuse(n, "a list belongs here: [a, b], or a line \"- a\" for each")
		return
	}
	n.each(func(child Node, _ string) {
		value := reflect.New(into.Type().Elem()).Elem()
		d.value(child, value)
		into.Set(reflect.Append(into, value))
	})
}

// custom lets a type decode itself. Mistakes inside are noted by the decoder that it
// is handed; any other error is about the value as a whole.
func (d *Decoder) custom(n Node, into reflect.Value) {
	before := len(d.Problems)
	err := into.Addr().Interface().(unmarshaler).UnmarshalYAML(func(inner any) error {
		d.Decode(n, inner)
		if len(d.Problems) > before {
			return errors.New("not decoded")
		}
		return nil
	})
	if err != nil && len(d.Problems) == before {
		d.refuse(n, "%v", err)
	}
}

func (d *Decoder) spelled(n Node, into reflect.Value) {
	if _, scalar := n.node.(ast.ScalarNode); !scalar || n.isNull() {
		d.refuse(n, "a single value belongs here")
		return
	}
	text, isText := n.text()
	if !isText {
		text = n.node.GetToken().Value
	}
	if err := into.Addr().Interface().(speller).UnmarshalYAML([]byte(text)); err != nil {
		d.refuse(n, "%v", err)
	}
}

func (n Node) isNull() bool {
	_, ok := n.node.(*ast.NullNode)
	return ok
}

func (n Node) isMapping() bool {
	_, ok := n.node.(*ast.MappingNode)
	return ok
}
