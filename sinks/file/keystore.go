package file

import (
	"encoding/asn1"
	"math/big"
)

// maxIterations bounds the work that a keystore may ask for before it can be read: it
// names the rounds of its key derivation itself (RFC 8018, section 5.2), and the
// files' owner may have written it. Ours have 2,048.
const maxIterations = 1_000_000

// longestSalt is that of a salt, an initialization vector or a digest. Whatever names its
// rounds is longer.
const longestSalt = 32

// affordable reports whether no number that stands in the clear in a keystore's DER
// is above that bound. The rounds are such numbers; keys and certificates are
// encrypted in ours, so that no other is large. What comes behind something that is no
// DER cannot be reached by who reads the keystore either.
func affordable(der []byte) bool {
	for len(der) > 0 {
		var value asn1.RawValue
		rest, err := asn1.Unmarshal(der, &value)
		if err != nil {
			return true
		}
		universal := value.Class == asn1.ClassUniversal
		switch {
		case universal && value.Tag == asn1.TagInteger:
			if new(big.Int).SetBytes(value.Bytes).Cmp(big.NewInt(maxIterations)) > 0 {
				return false
			}
		case universal && value.Tag == asn1.TagOctetString:
			// What is no whole SEQUENCE is salt or ciphertext: random bytes, which may look
			// like the begin of one.
			var inner asn1.RawValue
			if rest, err := asn1.Unmarshal(value.Bytes, &inner); err == nil && len(rest) == 0 && len(value.Bytes) > longestSalt && inner.Tag == asn1.TagSequence && !affordable(inner.Bytes) {
				return false
			}
		case value.IsCompound && !affordable(value.Bytes):
			return false
		}
		der = rest
	}
	return true
}
