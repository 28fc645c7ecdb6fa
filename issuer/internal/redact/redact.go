// Package redact makes the words of other people's servers and libraries fit to
// be shown: bounded, without control characters, and without the credentials that
// were sent to them, should they come back in an answer.
package redact

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"unicode"
)

const (
	// most is how many bytes of somebody's text are kept.
	most = 600
	// shortest is the length below which a secret is not searched for: it would be
	// found in any text.
	shortest = 4
)

// Redactor knows what must not be shown. The zero value only bounds and cleans.
type Redactor struct{ needles []string }

// New makes a Redactor for secrets. Those of less than four bytes are left out.
func New(secrets ...string) Redactor {
	var r Redactor
	for _, secret := range secrets {
		if len(secret) >= shortest {
			r.needles = append(r.needles, spellings(secret)...)
		}
	}
	return r
}

// Text returns text bounded and in one line. When it holds a secret in any of the
// spellings that programs use (plain, quoted, in JSON, in a URL, hexadecimal,
// base64 at any alignment) the whole text is withheld: what stands beside a
// credential may be another spelling of it.
func (r Redactor) Text(text string) string {
	folded := strings.ToLower(text)
	for _, needle := range r.needles {
		if strings.Contains(text, needle) || strings.Contains(folded, needle) {
			return "(the answer is withheld: it shows a credential)"
		}
	}
	text = strings.Join(strings.Fields(strings.Map(printable, text)), " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// Error is err with its text made fit to be shown. Only the end of a context can
// still be told by errors.Is: nothing else of err is reachable.
func (r Redactor) Error(err error) error {
	if err == nil {
		return nil
	}
	cleaned := &cleanedError{text: r.Text(err.Error())}
	for _, end := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, end) {
			cleaned.end = end
		}
	}
	return cleaned
}

type cleanedError struct {
	text string
	end  error // of a context, or nil
}

func (e *cleanedError) Error() string { return e.text }
func (e *cleanedError) Unwrap() error { return e.end }

func printable(r rune) rune {
	switch {
	case unicode.IsSpace(r):
		return ' '
	case unicode.IsControl(r), !unicode.IsPrint(r):
		return -1
	}
	return r
}

// spellings lists how a secret may look. Hexadecimal is matched in lower case.
func spellings(secret string) []string {
	quoted := strconv.Quote(secret)
	encoded, _ := json.Marshal(secret) // of a string: cannot fail
	all := []string{
		secret,
		quoted[1 : len(quoted)-1],
		string(encoded[1 : len(encoded)-1]),
		url.QueryEscape(secret),
		url.PathEscape(secret),
		hex.EncodeToString([]byte(secret)),
	}
	for offset := range 3 {
		for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			if inner := aligned(encoding, secret, offset); len(inner) >= shortest {
				all = append(all, inner)
			}
		}
	}
	return all
}

// aligned is the part of a base64 text that depends on secret alone when offset
// bytes of something else stand before it.
func aligned(encoding *base64.Encoding, secret string, offset int) string {
	text := encoding.EncodeToString([]byte(strings.Repeat("\x00", offset) + secret))
	first := (offset*8 + 5) / 6            // the first character without foreign bits
	last := (offset + len(secret)) * 8 / 6 // the first one that foreign bits follow
	return text[min(first, last):min(last, len(text))]
}
