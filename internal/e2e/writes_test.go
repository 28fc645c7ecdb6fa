package e2e

import (
	"strings"

	"github.com/anycert/anycert/internal/testenv/vaultserver"
	"github.com/anycert/anycert/internal/testenv/world"
)

// keyReads are the readings of a certificate's data, and so of its key, since m.
func (w *scene) keyReads(m world.Moment) []string {
	w.T.Helper()
	var paths []string
	for _, r := range vaultserver.KeyReads(w.VaultSince(m)) {
		if strings.Contains(r.Path, "/certs/") {
			paths = append(paths, r.Path)
		}
	}
	return paths
}
