package file

import (
	"testing"
	"time"

	pkcs12 "software.sslmate.com/src/go-pkcs12"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/sinks/sinktest"
)

// The owner of the files may put a keystore there whose reading takes hours.
func TestKeystoreThatTakesItsTime(t *testing.T) {
	bundle := sinktest.Issue(t, "example", []string{"example.com"}, 1)[0].Bundle
	password := anycert.NewSecret("changeit")
	ours, err := makeKeystore(bundle, password)
	must(t, err)
	if wrong := checkKeystore(ours, bundle.Digest(), password); wrong != "" {
		t.Errorf("our own: %s", wrong)
	}
	chain := bundle.Chain()
	for name, encoder := range map[string]*pkcs12.Encoder{"PBES2": pkcs12.Modern2023, "PBE": pkcs12.LegacyDES} {
		costly, err := encoder.WithIterations(maxIterations+1).Encode(bundle.Signer(), chain[0], chain[1:], password.Reveal())
		must(t, err)
		begin := time.Now()
		wrong := checkKeystore(costly, bundle.Digest(), password)
		if took := time.Since(begin); wrong != "it is not one of ours" || took > 100*time.Millisecond {
			t.Errorf("%s: %q after %s", name, wrong, took)
		}
	}
}
