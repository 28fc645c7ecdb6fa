package truth

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/anycert/anycert/internal/testenv/certs"
)

// places are all targets, by sink and label.
func (w *world) places() (all []string) {
	for certificate, names := range domains {
		all = append(all, "prod "+w.namespace+"/"+certificate+"-tls", "nginx "+w.path("files/"+certificate))
		for _, name := range names {
			all = append(all, "edge "+tlsConfiguration+"/"+name)
		}
	}
	return append(all, "app example.com")
}

// served is what each place holds, as whoever uses it sees it: a hash of chain and
// key, or "nothing".
func (w *world) served() map[string]string {
	w.Helper()
	all := map[string]string{}
	for _, place := range w.places() {
		sink, label, _ := strings.Cut(place, " ")
		var chain, key []byte
		switch sink {
		case "prod":
			chain, key = w.servedByCluster(label)
		case "edge":
			_, domain, _ := strings.Cut(label, "/")
			chain, key = w.fastly.Served(tlsConfiguration, domain)
		case "app":
			chain, key = w.fly.Custom(flyApp, label)
		case "nginx":
			chain, key = w.readIfThere(label+"/fullchain.pem"), w.readIfThere(label+"/privkey.pem")
		}
		all[place] = fingerprint(chain, key)
	}
	return all
}

func (w *world) servedByCluster(label string) (chain, key []byte) {
	w.Helper()
	namespace, name, _ := strings.Cut(label, "/")
	list, err := w.kube.Client().CoreV1().Secrets(namespace).List(w.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	w.must(err)
	if len(list.Items) == 0 {
		return nil, nil
	}
	return list.Items[0].Data["tls.crt"], list.Items[0].Data["tls.key"]
}

func (w *world) readIfThere(path string) []byte {
	w.Helper()
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	w.must(err)
	return text
}

func fingerprint(chain, key []byte) string {
	if len(chain) == 0 && len(key) == 0 {
		return "nothing"
	}
	return fmt.Sprintf("%x", sha256.Sum256(slices.Concat(chain, []byte{0}, key)))[:12]
}

// serve expects each place of a certificate to hold a pair.
func (w *world) serve(when, certificate string, pair certs.Pair, without ...string) {
	w.Helper()
	want := fingerprint(pair.ChainPEM, pair.KeyPEM)
	served := w.served()
	for _, place := range slices.Sorted(maps.Keys(served)) {
		if w.holds(place, certificate) && served[place] != want && !slices.Contains(without, strings.Fields(place)[0]) {
			w.Errorf("%s: %s holds %s, want %s", when, place, served[place], want)
		}
	}
}

// holds reports whether a place is one of a certificate's.
func (w *world) holds(place, certificate string) bool {
	if strings.Contains(place, certificate) {
		return true
	}
	_, domain, _ := strings.Cut(place, "/")
	return slices.Contains(domains[certificate], domain) || certificate == "bought" && place == "app example.com"
}

// unchanged expects every place to hold what it held.
func (w *world) unchanged(when string, before map[string]string) {
	w.Helper()
	for place, now := range w.served() {
		if now != before[place] {
			w.Errorf("%s: %s holds %s, it held %s", when, place, now, before[place])
		}
	}
}
