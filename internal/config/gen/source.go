package main

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"

	"github.com/anycert/anycert/internal/config/strict"
)

const modulePath = "github.com/anycert/anycert"

// sources finds the comments of types.
type sources struct {
	root   string
	parsed map[string]*source // by import path
}

// source is what was read of one package.
type source struct {
	files *token.FileSet
	types map[string]*ast.TypeSpec
	about map[string]string // the comment of each type
}

func (s sources) of(importPath string) (*source, error) {
	if known := s.parsed[importPath]; known != nil {
		return known, nil
	}
	folder := filepath.Join(s.root, strings.TrimPrefix(importPath, modulePath))
	paths, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil || len(paths) == 0 {
		return nil, fmt.Errorf("no sources of %s in %s", importPath, folder)
	}
	found := &source{token.NewFileSet(), map[string]*ast.TypeSpec{}, map[string]string{}}
	for _, path := range paths {
		file, err := parser.ParseFile(found.files, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		found.add(file)
	}
	s.parsed[importPath] = found
	return found, nil
}

func (s *source) add(file *ast.File) {
	for _, declaration := range file.Decls {
		group, ok := declaration.(*ast.GenDecl)
		if !ok || group.Tok != token.TYPE {
			continue
		}
		for _, spec := range group.Specs {
			declared := spec.(*ast.TypeSpec)
			s.types[declared.Name.Name] = declared
			s.about[declared.Name.Name] = group.Doc.Text() + declared.Doc.Text()
		}
	}
}

// field is one line of a table.
type field struct {
	name     string // in YAML
	kind     reflect.Type
	fallback string // what holds when it is left out
	meaning  string
}

// fields lists a struct's fields with their comments. One without is an error.
func (w *writer) fields(structure reflect.Type) []field {
	written := names(structure)
	var fields []field
	for _, known := range strict.Fields(structure) {
		declared := structure.FieldByIndex(known.Index)
		text := w.comment(structure, known.Index)
		if text == "" {
			w.fail(fmt.Errorf("%s.%s has no comment: say what %s means", structure, declared.Name, known.Name))
		}
		fallback, meaning := splitDefault(forUsers(text, declared.Name, written))
		if fallback == "" && declared.Type.Kind() == reflect.Bool {
			fallback = "`false`"
		}
		fields = append(fields, field{known.Name, declared.Type, fallback, meaning})
	}
	return fields
}

// comment is that of a field, which may be one of an inlined struct.
func (w *writer) comment(structure reflect.Type, index []int) string {
	last := len(index) - 1
	if last > 0 {
		structure = structure.FieldByIndex(index[:last]).Type
	}
	read, err := w.sources.of(structure.PkgPath())
	if err != nil {
		w.fail(err)
		return ""
	}
	return read.comments(structure.Name())[structure.Field(index[last]).Name]
}

// comments are those of a struct's fields, by name in Go: above the field, behind
// it, or, for fields that follow each other without an empty line, above the first.
func (s *source) comments(structure string) map[string]string {
	comments := map[string]string{}
	declared, ok := s.types[structure]
	if !ok {
		return comments
	}
	shared, line := "", 0
	for _, field := range declared.Type.(*ast.StructType).Fields.List {
		text := field.Doc.Text() + field.Comment.Text()
		if text == "" && s.files.Position(field.Pos()).Line == line+1 {
			text = shared
		}
		for _, name := range field.Names {
			comments[name.Name] = text
		}
		shared, line = text, s.files.Position(field.End()).Line
	}
	return comments
}

// about is the comment of a type. What is indented in it is YAML.
func (w *writer) about(kind reflect.Type) string {
	read, err := w.sources.of(kind.PkgPath())
	if err != nil {
		w.fail(err)
		return ""
	}
	var blocks []string
	for block := range strings.SplitSeq(opening(read.about[kind.Name()], kind.Name(), "It"), "\n\n") {
		if block = strings.TrimRight(block, "\n"); strings.HasPrefix(block, "\t") {
			block = "```yaml\n" + strings.TrimPrefix(strings.ReplaceAll(block, "\n\t", "\n"), "\t") + "\n```"
		}
		blocks = append(blocks, block)
	}
	return strings.Join(blocks, "\n\n")
}

// names are the fields of a struct: by their name in Go, the name in YAML.
func names(structure reflect.Type) map[string]string {
	names := map[string]string{}
	for _, known := range strict.Fields(structure) {
		names[structure.FieldByIndex(known.Index).Name] = "`" + known.Name + "`"
	}
	return names
}

var (
	both  = regexp.MustCompile(`^(\w+) and (\w+)\b`)
	camel = regexp.MustCompile(`\b[A-Z]\w*[A-Z]\w*\b`) // what is no word of English
)

// forUsers makes a sentence about a field in Go one about the field in YAML.
func forUsers(text, goName string, names map[string]string) string {
	if found := both.FindStringSubmatch(text); found != nil && names[found[1]] != "" && names[found[2]] != "" {
		return names[found[1]] + " and " + names[found[2]] + text[len(found[0]):]
	}
	return camel.ReplaceAllStringFunc(opening(text, goName, names[goName]), func(word string) string {
		return cmp.Or(names[word], word)
	})
}

// opening takes the name of the thing in Go from the beginning of its comment.
func opening(text, goName, name string) string {
	rest, ok := strings.CutPrefix(text, goName+" ")
	if !ok {
		return capital(text)
	}
	for _, verb := range []string{"is ", "are "} {
		if rest, ok := strings.CutPrefix(rest, verb); ok {
			return capital(rest)
		}
	}
	return name + " " + rest
}

// capital begins a sentence, unless it begins with a list of words to write.
func capital(text string) string {
	word, _, _ := strings.Cut(text, " ")
	if word == "" || strings.HasSuffix(word, ",") {
		return text
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

// defaults are the ways in which comments tell what holds when a field is left out.
var defaults = []*regexp.Regexp{
	regexp.MustCompile(`\s*\bDefault: (.+?)\.(?:\s|$)`),
	regexp.MustCompile(`\s*\bLeft out: (.+?)\.(?:\s|$)`),
	regexp.MustCompile(`[;,] ([^;,]+?) when left out`),
	regexp.MustCompile(`; without it (.+?)\b(?:\.\s|\.$)`),
	regexp.MustCompile(`\s*\b(\S+) is the default\.`),
}

// marked is a default among other values, which stays there.
var marked = regexp.MustCompile(`: (\S+) \(the default\)`)

// splitDefault takes the default out of a comment.
func splitDefault(text string) (fallback, meaning string) {
	text = strings.Join(strings.Fields(text), " ")
	for _, form := range defaults {
		at := form.FindStringSubmatchIndex(text)
		if at == nil {
			continue
		}
		before, after := text[:at[0]], text[at[1]:]
		if !strings.HasSuffix(before, ".") && !strings.HasPrefix(after, ".") {
			before += "."
		}
		if after != "" && !strings.HasPrefix(after, ".") {
			before += " "
		}
		return text[at[2]:at[3]], before + strings.TrimSpace(after)
	}
	if found := marked.FindStringSubmatch(text); found != nil {
		return found[1], text
	}
	return "", text
}
