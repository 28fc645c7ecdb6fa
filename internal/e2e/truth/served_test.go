package truth

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/world"
)

// places are all targets, by sink and label.
func (w *scene) places() (all []string) {
	for certificate, names := range domains {
		all = append(all, "prod "+w.namespace+"/"+certificate+"-tls", "nginx "+w.Path("files/"+certificate))
		for _, name := range names {
			all = append(all, "edge "+world.TLSConfiguration+"/"+name)
		}
	}
	return append(all, "app example.com")
}

// served is what each place holds, as whoever uses it sees it: a hash of chain and
// key, or "nothing".
func (w *scene) served() map[string]string {
	w.T.Helper()
	all := map[string]string{}
	for _, place := range w.places() {
		sink, label, _ := strings.Cut(place, " ")
		var chain, key []byte
		switch sink {
		case "prod":
			namespace, name, _ := strings.Cut(label, "/")
			chain, key = w.InCluster("prod", namespace, name)
		case "edge":
			_, domain, _ := strings.Cut(label, "/")
			chain, key = w.Fastly.Served(world.TLSConfiguration, domain)
		case "app":
			chain, key = w.Fly.Custom(world.FlyApp, label)
		case "nginx":
			chain, key = w.InFiles(w.Files, filepath.Base(label))
		}
		all[place] = fingerprint(chain, key)
	}
	return all
}

func fingerprint(chain, key []byte) string {
	if len(chain) == 0 && len(key) == 0 {
		return "nothing"
	}
	return fmt.Sprintf("%x", sha256.Sum256(slices.Concat(chain, []byte{0}, key)))[:12]
}

// serve expects each place of a certificate to hold a pair.
func (w *scene) serve(when, certificate string, pair certs.Pair, without ...string) {
	w.T.Helper()
	want := fingerprint(pair.ChainPEM, pair.KeyPEM)
	served := w.served()
	for _, place := range slices.Sorted(maps.Keys(served)) {
		if w.holds(place, certificate) && served[place] != want && !slices.Contains(without, strings.Fields(place)[0]) {
			w.T.Errorf("%s: %s holds %s, want %s", when, place, served[place], want)
		}
	}
}

// holds reports whether a place is one of a certificate's.
func (w *scene) holds(place, certificate string) bool {
	if strings.Contains(place, certificate) {
		return true
	}
	_, domain, _ := strings.Cut(place, "/")
	return slices.Contains(domains[certificate], domain) || certificate == "bought" && place == "app example.com"
}

// unchanged expects every place to hold what it held.
func (w *scene) unchanged(when string, before map[string]string) {
	w.T.Helper()
	for place, now := range w.served() {
		if now != before[place] {
			w.T.Errorf("%s: %s holds %s, it held %s", when, place, now, before[place])
		}
	}
}
