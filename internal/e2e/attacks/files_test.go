package attacks

import (
	"os"
	"path/filepath"
)

// served is what lies in the directory of the certificate example: where the symlink
// leads, and the bytes of its chain and key.
func (s *scene) served() string {
	s.T.Helper()
	link, err := os.Readlink(filepath.Join(s.Files, "example"))
	s.Must(err)
	text := link
	for _, name := range []string{"fullchain.pem", "privkey.pem"} {
		data, err := os.ReadFile(filepath.Join(s.Files, "example", name))
		s.Must(err)
		text += string(data)
	}
	return text
}

// replaceServed puts another certificate into the directory of example.
func (s *scene) replaceServed(chain []byte) {
	s.T.Helper()
	s.Must(os.WriteFile(filepath.Join(s.Files, "example", "fullchain.pem"), chain, 0o600))
}
