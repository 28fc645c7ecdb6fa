package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/anycert/anycert"
)

// CheckField tells what is wrong with the text of a Reference into Vault, which is
// MOUNT/PATH#FIELD.
func CheckField(text string) error {
	_, _, err := (&Store{}).parseField(text)
	return err
}

// ReadField reads one field of an entry in any KV version 2 secrets engine of this
// Vault: MOUNT/PATH#FIELD. MOUNT is the first part of the path, or the store's own
// mount where that has several.
func (s *Store) ReadField(ctx context.Context, text string) (anycert.Secret, error) {
	path, field, err := s.parseField(text)
	if err != nil {
		return anycert.Secret{}, s.wrap(fmt.Errorf("%w: %w", anycert.ErrMalformed, err), "reading a field")
	}
	found, err := s.vault.readData(ctx, path, 0)
	if err != nil {
		return anycert.Secret{}, s.wrap(err, "reading "+text)
	}
	value, err := found.field(field)
	return anycert.NewSecret(value), s.wrap(err, "reading "+text)
}

func (s *Store) parseField(text string) (kvPath, string, error) {
	whole, field, ok := strings.Cut(text, "#")
	mount, path, _ := strings.Cut(whole, "/")
	if below, own := strings.CutPrefix(whole, s.mount+"/"); own && s.mount != "" {
		mount, path = s.mount, below
	}
	switch {
	case !ok || field == "" || path == "":
		return kvPath{}, "", errors.New("a reference into Vault is written MOUNT/PATH#FIELD, like secret/credentials/dns#token")
	case strings.HasPrefix(path, "data/"):
		return kvPath{}, "", fmt.Errorf("write the path as `vault kv get` takes it: %s/%s, without data/", mount, strings.TrimPrefix(path, "data/"))
	case !segments.MatchString(mount) || !segments.MatchString(path):
		return kvPath{}, "", errors.New("the path of a reference into Vault has letters, digits, '-', '_' and '.', and '/' between them")
	}
	return kvPath{mount: mount, path: path}, field, nil
}
