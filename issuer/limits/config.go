package limits

import (
	"fmt"

	"github.com/anycert/anycert"
)

// Config is what an issuer's configuration says about its CA's limits: the word
// letsencrypt or none, or numbers. The zero value goes by the directory.
type Config struct {
	Like     string `yaml:"like"`     // letsencrypt or none: whose numbers hold where none is written
	Orders   string `yaml:"orders"`   // new orders: "300 in 3h"
	Domain   string `yaml:"domain"`   // certificates for a registered domain
	Names    string `yaml:"names"`    // certificates for exactly the same names
	Failures string `yaml:"failures"` // validations of a name that failed
}

// UnmarshalYAML takes a word or fields.
func (c *Config) UnmarshalYAML(unmarshal func(any) error) error {
	var kind any
	if err := unmarshal(&kind); err != nil {
		return err
	}
	if _, mapping := kind.(map[string]any); !mapping {
		return unmarshal(&c.Like)
	}
	type fields Config
	return unmarshal((*fields)(c))
}

// Check lists every mistake.
func (c Config) Check() (problems []anycert.Problem) {
	switch c.Like {
	case "", "letsencrypt", "none":
	default:
		problems = append(problems, anycert.Problem{Text: fmt.Sprintf("%q is none of letsencrypt, none and {domain: 500 in 7d}", c.Like)})
	}
	for _, field := range c.fields(new(Table)) {
		if _, err := ParseLimit(field.text); field.text != "" && err != nil {
			problems = append(problems, anycert.Problem{Field: field.name, Text: err.Error()})
		}
	}
	return problems
}

// Table are the limits of a CA by its directory, as far as c does not say otherwise.
// c was checked before.
func (c Config) Table(directory string) Table {
	t := Of(directory)
	switch c.Like {
	case "letsencrypt":
		t = LetsEncrypt()
	case "none":
		t = Table{}
	}
	for _, field := range c.fields(&t) {
		if limit, err := ParseLimit(field.text); err == nil {
			*field.into = limit
		}
	}
	return t
}

type field struct {
	name, text string
	into       *Limit
}

func (c Config) fields(t *Table) []field {
	return []field{{"orders", c.Orders, &t.Orders}, {"domain", c.Domain, &t.Domain}, {"names", c.Names, &t.Set}, {"failures", c.Failures, &t.Failures}}
}
