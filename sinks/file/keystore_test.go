package file

import (
	"bytes"
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
		took := time.Hour
		for range 5 { // the shortest: others may be busy
			begin := time.Now()
			if wrong := checkKeystore(costly, bundle.Digest(), password); wrong != "it is not one of ours" {
				t.Errorf("%s: %q", name, wrong)
			}
			took = min(took, time.Since(begin))
		}
		if took > 100*time.Millisecond {
			t.Errorf("%s: it took %s", name, took)
		}
	}
}

// A salt and a ciphertext are random: one in some thousand looks like the begin of a
// SEQUENCE. A number of rounds before or within that counts all the same.
func TestRandomBytesThatLookLikeDER(t *testing.T) {
	sequence := func(inner ...byte) []byte { return append([]byte{0x30, byte(len(inner))}, inner...) }
	octets := func(inner []byte) []byte { return append([]byte{0x04, byte(len(inner))}, inner...) }
	large := []byte{0x02, 0x04, 0x7f, 0xff, 0xff, 0xff} // an INTEGER
	random := bytes.Repeat([]byte{0xff}, 40)            // no DER
	for name, test := range map[string]struct {
		der  []byte
		want bool
	}{
		"a salt":                                {sequence(octets(sequence(random[:14]...))...), true},
		"a salt with what could be a number":    {sequence(octets(sequence(append(large, random[:8]...)...))...), true},
		"a ciphertext":                          {sequence(octets(sequence(random...))...), true},
		"rounds":                                {sequence(large...), false},
		"rounds inside":                         {sequence(octets(sequence(append(large, random...)...))...), false},
		"rounds behind a salt like a structure": {sequence(append(octets(sequence(random[:14]...)), large...)...), false},
	} {
		if got := affordable(test.der); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
