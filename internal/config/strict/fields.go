package strict

import (
	"fmt"
	"reflect"
	"strings"
)

// Field is a field of a struct as the file calls it.
type Field struct {
	Name  string
	Index []int // for reflect.Value.FieldByIndex
}

// Fields lists the fields of a struct type in their order, those of inlined
// structs in their place. An exported field without a yaml tag is a mistake of the
// programmer and panics; `yaml:"-"` leaves one out.
func Fields(structure reflect.Type) []Field {
	var fields []Field
	for i := range structure.NumField() {
		field := structure.Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		switch {
		case options == "inline":
			for _, inner := range Fields(field.Type) {
				fields = append(fields, Field{inner.Name, append([]int{i}, inner.Index...)})
			}
		case name == "-" || !field.IsExported():
		case name == "":
			panic(fmt.Sprintf("strict: %s.%s has no yaml tag", structure, field.Name))
		default:
			fields = append(fields, Field{name, []int{i}})
		}
	}
	return fields
}

func fieldNames(structure reflect.Type) []string {
	var names []string
	for _, field := range Fields(structure) {
		names = append(names, field.Name)
	}
	return names
}
