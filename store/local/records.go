package local

import (
	"errors"

	"github.com/anycert/anycert"
)

func (t tables) keys(kind string) []string { return list(t.bucket(recordsTable, kind)) }

func (t tables) load(kind, key string) (found record, err error) {
	err = get(t.bucket(recordsTable, kind), []byte(key), &found)
	return found, err
}

func (t tables) save(kind, key string, expected int, value anycert.Secret) error {
	found, err := t.load(kind, key)
	if err != nil && !errors.Is(err, anycert.ErrNotFound) {
		return err
	}
	if found.Version != expected {
		return anycert.ErrConflict
	}
	bucket, err := t.make(recordsTable, kind)
	if err != nil {
		return err
	}
	return set(bucket, []byte(key), record{Version: expected + 1, Value: value.Reveal()})
}

func (t tables) delete(kind, key string) error {
	bucket := t.bucket(recordsTable, kind)
	if bucket == nil || bucket.Get([]byte(key)) == nil {
		return errUnchanged
	}
	return classify(bucket.Delete([]byte(key)))
}
