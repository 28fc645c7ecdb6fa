package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/anycert/anycert"
)

// valueField is the only field of a record.
const valueField = "value"

// Keys implements anycert.Records.
func (s *Store) Keys(ctx context.Context, kind string) ([]string, error) {
	err := checkRecord(kind, "any")
	var keys []string
	if err == nil {
		keys, err = s.vault.list(ctx, kvPath{mount: s.mount, path: s.prefix + "/" + kind})
	}
	return keys, s.wrap(err, "listing "+kind)
}

// Load implements anycert.Records.
func (s *Store) Load(ctx context.Context, kind, key string) (anycert.Secret, int, error) {
	value, version, err := s.load(ctx, kind, key)
	return value, version, s.wrap(err, kind+"/"+key)
}

func (s *Store) load(ctx context.Context, kind, key string) (anycert.Secret, int, error) {
	if err := checkRecord(kind, key); err != nil {
		return anycert.Secret{}, 0, err
	}
	found, err := s.vault.readData(ctx, s.path(kind, key), 0)
	if err != nil {
		return anycert.Secret{}, 0, err
	}
	value, err := found.field(valueField)
	if err != nil {
		return anycert.Secret{}, 0, err
	}
	return anycert.NewSecret(value), found.version, nil
}

// Save implements anycert.Records.
func (s *Store) Save(ctx context.Context, kind, key string, expected int, value anycert.Secret) (int, error) {
	version, err := s.save(ctx, kind, key, expected, value)
	return version, s.wrap(err, fmt.Sprintf("%s/%s, writing version %d", kind, key, expected+1))
}

func (s *Store) save(ctx context.Context, kind, key string, expected int, value anycert.Secret) (int, error) {
	if err := checkRecord(kind, key); err != nil {
		return 0, err
	}
	written, err := s.vault.writeData(ctx, s.path(kind, key), expected, map[string]string{valueField: value.Reveal()})
	if err == nil {
		return written.version, nil
	}
	// Only a write that was sent more than once can have lost to itself. Without
	// that condition a claim could be won twice.
	if errors.Is(err, anycert.ErrConflict) && written.repeated {
		there, version, loadErr := s.load(ctx, kind, key)
		if loadErr == nil && version == expected+1 && there.Reveal() == value.Reveal() {
			return version, nil
		}
	}
	return 0, err
}

// Delete implements anycert.Records. It removes metadata and every version.
func (s *Store) Delete(ctx context.Context, kind, key string) error {
	err := checkRecord(kind, key)
	if err == nil {
		err = s.vault.deleteAll(ctx, s.path(kind, key))
	}
	return s.wrap(err, kind+"/"+key+", deleting")
}

// checkRecord refuses what is no name, and the kind that is the certificates'.
func checkRecord(kind, key string) error {
	err := errors.Join(anycert.CheckName(kind), anycert.CheckName(key))
	if kind == certsKind {
		err = errors.New("certs is the place of certificates: a record is kept elsewhere")
	}
	if err != nil {
		return fmt.Errorf("%w: %w", anycert.ErrMalformed, err)
	}
	return nil
}
