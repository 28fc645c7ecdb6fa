package main

import (
	"cmp"
	"fmt"
	"os"
	"os/user"
	"strings"
	"unicode"
)

// whoami is user@host as the store keeps it of what a person does by anycert: for
// people who ask later who did it, and no proof of anything. The audit log of the
// store is that.
func whoami() string {
	name := fmt.Sprintf("uid-%d", os.Getuid()) // without a name, as in a container
	if known, err := user.Current(); err == nil && known.Username != "" {
		name = known.Username
	}
	host, _ := os.Hostname()
	return word(name, 48) + "@" + word(cmp.Or(host, "unknown"), 64)
}

// word is a text as one printable word of no more than most bytes.
func word(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		if r > unicode.MaxASCII || !unicode.IsGraphic(r) || r == ' ' {
			return '-'
		}
		return r
	}, text)
	return text[:min(len(text), most)]
}
