package licence

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strings"
)

// Texts is one text for people with every licence and notice: a list of the modules,
// then each text once, headed by the files that it stands in.
func Texts(modules []Module) []byte {
	var out bytes.Buffer
	fmt.Fprintf(&out, "anycert is linked from the modules below. Their sources are at the paths that they are\nlisted by; their licences and notices follow.\n\n")
	for _, module := range modules {
		fmt.Fprintf(&out, "%s %s: %s\n", module.Path, module.Version, strings.Join(module.IDs(), ", "))
	}
	for _, text := range distinct(modules) {
		fmt.Fprintf(&out, "\n%s\n", strings.Repeat("=", 88))
		for _, where := range text.where {
			fmt.Fprintln(&out, where)
		}
		fmt.Fprintf(&out, "%s\n\n%s\n", strings.Repeat("-", 88), bytes.TrimSpace(text.text))
	}
	return out.Bytes()
}

// shared is a text that one or more files consist of.
type shared struct {
	text  []byte
	where []string
}

// distinct are the texts in the order in which they are first met.
func distinct(modules []Module) []*shared {
	var texts []*shared
	known := map[[sha256.Size]byte]*shared{}
	for _, module := range modules {
		for _, file := range module.Files {
			sum := sha256.Sum256(bytes.TrimSpace(file.Text))
			if known[sum] == nil {
				known[sum] = &shared{text: file.Text}
				texts = append(texts, known[sum])
			}
			known[sum].where = append(known[sum].where, module.Path+" "+file.Name)
		}
	}
	return texts
}
