package leak

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"iter"
	"math/big"
)

const (
	prefix = 8  // bytes by which needles are looked up; none is shorter
	window = 16 // bytes of a secret number that give it away
)

// addKeys adds the private keys in text, which may hold certificates too.
func (s *Search) addKeys(name string, text []byte) error {
	var keys int
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			continue
		}
		if err := s.addKey(name, block.Bytes); err != nil {
			return err
		}
		keys++
	}
	if keys == 0 {
		return errors.New("no private key in the PEM")
	}
	return nil
}

// addKey adds a key's numbers and, in each format, the part of its PEM that
// is made of them: the PEM text itself may be encoded once more, as Kubernetes
// does.
func (s *Search) addKey(name string, der []byte) error {
	numbers, formats, err := readKey(der)
	if err != nil {
		return err
	}
	for _, number := range numbers {
		for chunk := range chunks(number, window) {
			s.addBytes(name, chunk)
		}
		decimal := []byte(new(big.Int).SetBytes(number).String())
		for chunk := range chunks(decimal, 2*window) {
			s.add(viewRaw, needle{chunk, name, "decimal"})
		}
		for _, format := range formats {
			for _, text := range secretText(format, number) {
				for chunk := range chunks(text, window) {
					s.addBytes(name, chunk)
				}
			}
		}
	}
	return nil
}

// readKey returns a key's secret numbers, and its DER in every format.
func readKey(der []byte) (numbers, formats [][]byte, err error) {
	key, err := parseKey(der)
	if err != nil {
		return nil, nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	formats = [][]byte{der, pkcs8}
	switch key := key.(type) {
	case *ecdsa.PrivateKey:
		scalar, err := key.Bytes()
		if err != nil {
			return nil, nil, err
		}
		sec1, err := x509.MarshalECPrivateKey(key)
		if err != nil {
			return nil, nil, err
		}
		return [][]byte{scalar}, append(formats, sec1), nil
	case *rsa.PrivateKey:
		key.Precompute()
		for _, n := range []*big.Int{key.D, key.Primes[0], key.Primes[1],
			key.Precomputed.Dp, key.Precomputed.Dq, key.Precomputed.Qinv} {
			numbers = append(numbers, n.Bytes())
		}
		return numbers, append(formats, x509.MarshalPKCS1PrivateKey(key)), nil
	}
	return nil, nil, fmt.Errorf("a key of type %T", key)
}

func parseKey(der []byte) (any, error) {
	if key, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		return key, nil
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key, nil
	}
	return x509.ParsePKCS1PrivateKey(der)
}

// secretText returns the lines of der's base64, wrapped as PEM does, as far as
// they are made of the number alone.
func secretText(der, number []byte) [][]byte {
	const line = 64
	start := bytes.Index(der, number)
	if start < 0 {
		return nil
	}
	text := []byte(base64.StdEncoding.EncodeToString(der))
	first, last := (start+2)/3*4, (start+len(number))/3*4
	var lines [][]byte
	for first < last {
		end := min(last, (first/line+1)*line)
		lines = append(lines, text[first:end])
		first = end
	}
	return lines
}

// chunks yields b in pieces of size, the last one up to its end. What is
// shorter than size would be found by chance.
func chunks(b []byte, size int) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for start := 0; start+size <= len(b); start += size {
			if !yield(b[start : start+size]) {
				return
			}
		}
		if len(b) > size && len(b)%size != 0 {
			yield(b[len(b)-size:])
		}
	}
}

// addBytes adds bytes in every encoding that is not undone by a view.
func (s *Search) addBytes(name string, b []byte) {
	s.add(viewRaw, needle{b, name, "raw"})
	s.add(viewBytes, needle{b, name, "bytes"})
	s.add(viewHex, needle{[]byte(hex.EncodeToString(b)), name, "hex"})
	// Where the bytes begin within a group of three decides what they look
	// like; the groups at both ends are mixed with their neighbours.
	for skip := range 3 {
		whole := b[skip:]
		whole = whole[:len(whole)/3*3]
		s.add(viewBase64, needle{[]byte(base64.StdEncoding.EncodeToString(whole)), name, "base64"})
	}
}

func (s *Search) add(v view, n needle) {
	if len(n.text) < prefix {
		return // too little of a short token's base64 is its own to be told from chance
	}
	if s.needles[v] == nil {
		s.needles[v] = map[uint64][]needle{}
	}
	key := binary.LittleEndian.Uint64(n.text)
	s.needles[v][key] = append(s.needles[v][key], n)
}
