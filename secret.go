package anycert

import (
	"fmt"
	"io"
	"log/slog"
)

// hidden is what every printer shows of a Secret.
const hidden = "[secret]"

// Secret is a text that must not be seen: a private key, a token. It hides the
// text from fmt (every verb, also inside other values), log/slog, JSON, YAML and
// text encoders. Reveal is called only where the text is handed over: by the
// issuer, by stores and by sinks.
//
// The text is behind a pointer to a string: fmt follows an unexported field that
// is a string, whatever its String method says, but prints only the address of a
// *string.
type Secret struct{ text *string }

// NewSecret hides text.
func NewSecret(text string) Secret { return Secret{&text} }

// Reveal returns the text.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsZero reports whether there is no text.
func (s Secret) IsZero() bool { return s.Reveal() == "" }

func (Secret) String() string               { return hidden }
func (Secret) GoString() string             { return hidden }
func (Secret) Format(f fmt.State, _ rune)   { _, _ = io.WriteString(f, hidden) }
func (Secret) LogValue() slog.Value         { return slog.StringValue(hidden) }
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + hidden + `"`), nil }
func (Secret) MarshalYAML() (any, error)    { return hidden, nil }
