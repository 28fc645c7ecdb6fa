package leak

import (
	"bytes"
	"errors"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
	"syscall"
)

// view is a way to look at text: what stands between the characters of an
// encoding is taken away, and spellings of the same are made one.
type view int

const (
	viewRaw    view = iota // as it is
	viewHex                // lower case, without separators
	viewBase64             // one alphabet, without line ends, escaped ones too
	viewBytes              // the bytes that fmt's %v, %d and %#v list
)

func views() []view { return []view{viewRaw, viewHex, viewBase64, viewBytes} }

var (
	hexNoise = strings.NewReplacer(" ", "", "\n", "", "\r", "", "\t", "", ":", "", ",", "", `\x`, "", "0x", "")

	// Escapes nest: a JSON text in a JSON text says \\n. Backslashes are no
	// part of base64, so all of them go, with the letter that follows if it
	// spells a line end. A '/' may be escaped in JSON, '+' and '/' in URLs, '+' and
	// quotes in HTML.
	escapedLineEnd = regexp.MustCompile(`\\+[nrt]|%0[AaDd]|\\+u000[aAdD]`)
	base64Noise    = strings.NewReplacer(" ", "", "\n", "", "\r", "", "\t", "", `\u002b`, "+", `\u002B`, "+",
		`\u002f`, "/", `\u002F`, "/", "%2B", "+", "%2b", "+", "%2F", "/", "%2f", "/", "&#43;", "+", "&#34;", "", "&#39;", "",
		`\`, "", `"`, "", "'", "", "-", "+", "_", "/")

	// A list of at least window numbers, in decimal or hex.
	byteList = regexp.MustCompile(`(?:(?:0x[0-9a-f]{1,2}|[0-9]{1,3})[,\s]+){15,}(?:0x[0-9a-f]{1,2}|[0-9]{1,3})`)
)

func (v view) see(data []byte) []byte {
	switch v {
	case viewHex:
		return []byte(hexNoise.Replace(strings.ToLower(string(data))))
	case viewBase64:
		return []byte(base64Noise.Replace(escapedLineEnd.ReplaceAllString(string(data), "")))
	case viewBytes:
		var read []byte
		for _, list := range byteList.FindAll(data, -1) {
			read = append(read, readByteList(list)...)
		}
		return read
	}
	return data
}

// readByteList reads numbers; one above 255 is no byte and splits the list.
func readByteList(list []byte) []byte {
	var read []byte
	for _, word := range bytes.FieldsFunc(list, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) }) {
		// Base 0 would take 010 for octal.
		text, base := string(word), 10
		if hex, is := strings.CutPrefix(text, "0x"); is {
			text, base = hex, 16
		}
		if n, err := strconv.ParseUint(text, base, 8); err == nil {
			read = append(read, byte(n))
		}
	}
	return read
}

// gone reports whether a process ended while it was looked into.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH)
}
