// Package leak searches for planted secrets in whatever a program has said or
// left behind, in the shapes that secrets take on their way out: PEM as it is,
// escaped for JSON or by %q, wrapped anew, in base64 at any alignment; the bare
// numbers of a key in binary, hex, base64, decimal, or as fmt prints bytes.
//
// A key is found by any 31 bytes in a row of one of its secret numbers, so that
// a truncated leak is one too. Public parts are never searched for:
// certificates and requests may show them.
package leak

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// Secret is what must not be found: a private key in PEM, whatever stands
// beside it there, or a token.
type Secret struct {
	Name  string // for findings
	PEM   []byte
	Token string // at least 8 bytes
}

// Finding is a secret that was found.
type Finding struct {
	Secret   string // its name
	Encoding string // raw, hex, base64, bytes or decimal
	Where    string // as the caller called it, or a path
	Offset   int    // in what was searched, its spaces and escapes taken away
}

func (f Finding) String() string {
	return fmt.Sprintf("%s: %s as %s at %d", f.Where, f.Secret, f.Encoding, f.Offset)
}

// Search looks for secrets. It may be used by several goroutines at once.
type Search struct {
	needles map[view]map[uint64][]needle // by view and their first bytes
}

// needle is a text that gives a secret away.
type needle struct {
	text     []byte
	secret   string
	encoding string
}

// New prepares a search for secrets.
func New(secrets ...Secret) (*Search, error) {
	s := &Search{needles: map[view]map[uint64][]needle{}}
	for _, secret := range secrets {
		var err error
		switch {
		case len(secret.PEM) > 0:
			err = s.addKeys(secret.Name, secret.PEM)
		case len(secret.Token) >= prefix:
			s.addBytes(secret.Name, []byte(secret.Token))
		default:
			err = errors.New("neither PEM nor a token of some length")
		}
		if err != nil {
			return nil, fmt.Errorf("preparing a search for %s: %w", secret.Name, err)
		}
	}
	return s, nil
}

// Bytes searches data; where is for the findings.
func (s *Search) Bytes(where string, data []byte) []Finding {
	found := map[string]Finding{} // one of each secret and encoding is enough
	for _, v := range views() {
		text := v.see(data)
		for i := 0; i+prefix <= len(text); i++ {
			for _, n := range s.needles[v][binary.LittleEndian.Uint64(text[i:])] {
				if len(text)-i < len(n.text) || string(text[i:i+len(n.text)]) != string(n.text) {
					continue
				}
				key := n.secret + "\x00" + n.encoding
				if _, already := found[key]; !already {
					found[key] = Finding{Secret: n.secret, Encoding: n.encoding, Where: where, Offset: i}
				}
			}
		}
	}
	var all []Finding
	for _, f := range found {
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b Finding) int { return a.Offset - b.Offset })
	return all
}

// File searches a file and its name.
func (s *Search) File(path string) ([]Finding, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("searching for leaks: %w", err)
	}
	return append(s.Bytes(path, data), s.Bytes("the name of "+path, []byte(path))...), nil
}

// Dir searches every regular file below a folder.
func (s *Search) Dir(dir string) ([]Finding, error) {
	var all []Finding
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed while we walked
		}
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		found, err := s.File(path)
		all = append(all, found...)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("searching for leaks: %w", err)
	}
	return all, nil
}

// Process searches a process's arguments and environment, as others see them.
func (s *Search) Process(pid int) ([]Finding, error) {
	var all []Finding
	for _, name := range []string{"cmdline", "environ"} {
		found, err := s.File(filepath.Join("/proc", strconv.Itoa(pid), name))
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// Processes searches every process of the machine that we may look into.
func (s *Search) Processes() ([]Finding, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("searching for leaks: %w", err)
	}
	var all []Finding
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue // not a process
		}
		found, err := s.Process(pid)
		if err != nil && !gone(err) && !errors.Is(err, fs.ErrPermission) {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}
