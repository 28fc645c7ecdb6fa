package main

import (
	"fmt"
	"reflect"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/config"
	"github.com/anycert/anycert/internal/config/strict"
	"github.com/anycert/anycert/internal/notify"
	"github.com/anycert/anycert/issuer/dns01"
	"github.com/anycert/anycert/issuer/limits"
	"github.com/anycert/anycert/sinks/file"
)

const aReference = "[reference](#references-to-secrets)"

// kinds are the types whose shape in YAML is not that of the Go type.
var kinds = map[reflect.Type]string{
	reflect.TypeFor[anycert.Reference](): aReference,
	reflect.TypeFor[dns01.Propagation](): "`authoritative`, `recursive` or `{wait: 90s}`",
	reflect.TypeFor[dns01.Setting]():     "text or " + aReference,
	reflect.TypeFor[limits.Config]():     "`letsencrypt`, `none` or numbers",
	reflect.TypeFor[notify.URL]():        "text or " + aReference,
	reflect.TypeFor[file.Mode]():         "octal number",
	reflect.TypeFor[strict.Node]():       "fields of the type",
	reflect.TypeFor[time.Duration]():     "time, as in `30s`",
}

// kind tells what belongs into a field.
func (w *writer) kind(at place, field field) string {
	if inner, ok := structureOf(field.kind); ok {
		words := "fields, see " + at.below(field).link()
		switch {
		case field.kind == reflect.TypeFor[config.Verify]():
			words = "`false` or list of " + words
		case decodesItself(field.kind):
			words = "fields or a list of them, see " + at.below(field).link()
		case inner != indirect(field.kind):
			words = "list of " + words
		}
		return words
	}
	return w.scalar(field.kind)
}

func (w *writer) scalar(kind reflect.Type) string {
	kind = indirect(kind)
	if words, ok := kinds[kind]; ok {
		return words
	}
	switch kind.Kind() {
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "`true` or `false`"
	case reflect.Int:
		return "whole number"
	case reflect.Float32, reflect.Float64:
		return "number"
	case reflect.Slice:
		return "list of " + w.scalar(kind.Elem())
	case reflect.Map:
		return "names, each with a " + w.scalar(kind.Elem())
	}
	w.fail(fmt.Errorf("no words for values of type %s: add them to kinds", kind))
	return ""
}

// structureOf is the struct that a field is decoded into, itself or each entry.
func structureOf(kind reflect.Type) (reflect.Type, bool) {
	kind = indirect(kind)
	if kind.Kind() == reflect.Slice {
		kind = indirect(kind.Elem())
	}
	_, special := kinds[kind]
	return kind, kind.Kind() == reflect.Struct && !special
}

func indirect(kind reflect.Type) reflect.Type {
	if kind.Kind() == reflect.Pointer {
		return kind.Elem()
	}
	return kind
}

// decodesItself reports whether a type takes several shapes.
func decodesItself(kind reflect.Type) bool {
	_, ok := reflect.PointerTo(kind).MethodByName("UnmarshalYAML")
	return ok
}
