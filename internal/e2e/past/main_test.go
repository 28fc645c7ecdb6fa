// Package past tests what concerns the versions of a certificate, against the real Vault:
// its history, going back to an older one, revoking one, and the key of a request for a
// CA that people deal with, from its birth in the store to its destruction there.
package past

import (
	"fmt"
	"path"
	"strings"
	"testing"

	"github.com/anycert/anycert/internal/testenv/leak"
	"github.com/anycert/anycert/internal/testenv/world"
)

func TestMain(m *testing.M) { world.Main(m) }

// found lists the versions of all entries in Vault that hold a key, as its administrator
// sees them: "orders/shop 1". What is destroyed holds nothing.
func found(w *world.World, keyPEM []byte) (places []string) {
	w.T.Helper()
	search, err := leak.New(leak.Secret{Name: "the key", PEM: keyPEM})
	w.Must(err)
	kv := w.Vault.Client().KVv2("secret")
	for _, entry := range entries(w, "") {
		versions, err := kv.GetVersionsAsList(w.T.Context(), entry)
		w.Must(err)
		for _, version := range versions {
			if version.Destroyed {
				continue
			}
			if !version.DeletionTime.IsZero() {
				w.Must(kv.Undelete(w.T.Context(), entry, []int{version.Version}))
			}
			held, err := kv.GetVersion(w.T.Context(), entry, version.Version)
			w.Must(err)
			text := fmt.Sprint(held.Data, held.CustomMetadata)
			for _, field := range held.Data { // JSON within a field hides the line ends
				text += strings.ReplaceAll(fmt.Sprint(field), `\n`, "\n")
			}
			if len(search.Bytes(entry, []byte(text))) > 0 {
				places = append(places, fmt.Sprintf("%s %d", strings.TrimPrefix(entry, "anycert/"), version.Version))
			}
		}
	}
	return places
}

// entries are the paths of all entries below a folder.
func entries(w *world.World, folder string) (paths []string) {
	w.T.Helper()
	listed, err := w.Vault.Client().Logical().ListWithContext(w.T.Context(), "secret/metadata/"+folder)
	w.Must(err)
	if listed == nil {
		return nil
	}
	keys, _ := listed.Data["keys"].([]any)
	for _, key := range keys {
		below := path.Join(folder, fmt.Sprint(key))
		if strings.HasSuffix(fmt.Sprint(key), "/") {
			paths = append(paths, entries(w, below)...)
			continue
		}
		paths = append(paths, below)
	}
	return paths
}
