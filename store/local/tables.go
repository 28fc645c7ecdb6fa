package local

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"github.com/anycert/anycert"
)

// The file holds four tables. Keys are in one of their own, so that nothing else
// ever touches a page with a key on it.
//
//	certs/<name>/<version>   head: time, deleted, what History tells
//	pairs/<name>/<version>   pair: tls.crt, tls.key
//	index/<name>             index: what Stat tells, of one version
//	records/<kind>/<key>     record: version, value
const (
	certsTable   = "certs"
	pairsTable   = "pairs"
	indexTable   = "index"
	recordsTable = "records"
)

type head struct {
	Time      time.Time `json:"time"`
	Deleted   bool      `json:"deleted,omitempty"`
	Destroyed bool      `json:"destroyed,omitempty"`
	About     about     `json:"about,omitzero"`

	Revoked *anycert.Revocation `json:"revoked,omitempty"`
}

type pair struct {
	Certificate string `json:"tls.crt"`
	Key         string `json:"tls.key"`
}

type record struct {
	Version int    `json:"version"`
	Value   string `json:"value"`
}

// tables is what the file holds, in one transaction; without one it is empty.
type tables struct{ tx *bbolt.Tx }

// bucket finds nested buckets; nil when one is not there.
func (t tables) bucket(path ...string) *bbolt.Bucket {
	if t.tx == nil {
		return nil
	}
	found := t.tx.Bucket([]byte(path[0]))
	for _, name := range path[1:] {
		if found == nil {
			return nil
		}
		found = found.Bucket([]byte(name))
	}
	return found
}

// make finds nested buckets, and makes those that are not there.
func (t tables) make(path ...string) (*bbolt.Bucket, error) {
	made, err := t.tx.CreateBucketIfNotExists([]byte(path[0]))
	for _, name := range path[1:] {
		if err != nil {
			break
		}
		made, err = made.CreateBucketIfNotExists([]byte(name))
	}
	return made, classify(err)
}

// list lists the names in a bucket, in order.
func list(bucket *bbolt.Bucket) []string {
	var names []string
	if bucket == nil {
		return nil
	}
	for cursor, name := bucket.Cursor(), []byte(nil); ; {
		if name == nil {
			name, _ = cursor.First()
		} else {
			name, _ = cursor.Next()
		}
		if name == nil {
			return names
		}
		names = append(names, string(name))
	}
}

// get decodes a value. ErrNotFound when it is not there.
func get(bucket *bbolt.Bucket, key []byte, value any) error {
	if bucket == nil {
		return anycert.ErrNotFound
	}
	text := bucket.Get(key)
	if text == nil {
		return anycert.ErrNotFound
	}
	// What json says of bad input is left out: it may quote it.
	if json.Unmarshal(text, value) != nil {
		return fmt.Errorf("%w: the file is damaged: restore it from a copy", anycert.ErrMalformed)
	}
	return nil
}

func set(bucket *bbolt.Bucket, key []byte, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return errors.New("what is to be written cannot be written as JSON")
	}
	return classify(bucket.Put(key, text))
}

func versionKey(version int) []byte { return binary.BigEndian.AppendUint64(nil, uint64(version)) }

func (t tables) names() []string { return list(t.bucket(certsTable)) }

// current describes the current version as far as that needs no index.
func (t tables) current(name string) (anycert.Entry, error) {
	versions := t.bucket(certsTable, name)
	if versions == nil {
		return anycert.Entry{}, anycert.ErrNotFound
	}
	key, _ := versions.Cursor().Last()
	var found head
	if err := get(versions, key, &found); err != nil {
		return anycert.Entry{}, err
	}
	if len(key) != 8 {
		return anycert.Entry{}, fmt.Errorf("%w: the file is damaged: restore it from a copy", anycert.ErrMalformed)
	}
	entry := anycert.Entry{Name: name, Version: int(binary.BigEndian.Uint64(key)), Time: found.Time}
	if found.Deleted {
		return entry, anycert.ErrDeleted
	}
	return entry, nil
}

// bundle reads one version, and so a key.
func (t tables) bundle(name string, version int) (*anycert.Bundle, error) {
	if version < 1 {
		return nil, anycert.ErrNotFound
	}
	var found head
	if err := get(t.bucket(certsTable, name), versionKey(version), &found); err != nil {
		return nil, err
	}
	if found.Deleted || found.Destroyed {
		return nil, anycert.ErrDeleted
	}
	var text pair
	if err := get(t.bucket(pairsTable, name), versionKey(version), &text); err != nil {
		return nil, err
	}
	return anycert.ParseBundle([]byte(text.Certificate), []byte(text.Key))
}

// put writes the next version, or tells the success of a put that was made before.
func (t tables) put(name string, expected int, bundle *anycert.Bundle, origin anycert.Origin) (anycert.Entry, error) {
	current, err := t.current(name)
	if err != nil && !errors.Is(err, anycert.ErrNotFound) && !errors.Is(err, anycert.ErrDeleted) {
		return anycert.Entry{}, err
	}
	if err := t.mayIndex(name); err != nil {
		return anycert.Entry{}, err
	}
	if current.Version != expected {
		if indexed, err := t.stat(name); err == nil && indexed.Version == expected+1 && indexed.Digest == bundle.Digest() {
			return indexed, errUnchanged
		}
		return anycert.Entry{}, anycert.ErrConflict
	}
	entry := anycert.Entry{
		Name: name, Version: expected + 1, Time: time.Now().UTC(),
		Digest: bundle.Digest(), Leaf: bundle.Leaf(), Origin: origin,
	}
	text := pair{Certificate: string(bundle.FullChainPEM()), Key: bundle.KeyPEM().Reveal()}
	if err := t.append(entry, text); err != nil {
		return anycert.Entry{}, err
	}
	return entry, t.index(entry)
}

// append writes a version, and drops the one that is too old to be kept.
func (t tables) append(entry anycert.Entry, text pair) error {
	heads, err := t.make(certsTable, entry.Name)
	if err != nil {
		return err
	}
	pairs, err := t.make(pairsTable, entry.Name)
	if err != nil {
		return err
	}
	if old := entry.Version - keep; old > 0 {
		if err := errors.Join(heads.Delete(versionKey(old)), pairs.Delete(versionKey(old))); err != nil {
			return classify(err)
		}
	}
	if err := set(heads, versionKey(entry.Version), head{Time: entry.Time, About: aboutOf(entry)}); err != nil {
		return err
	}
	return set(pairs, versionKey(entry.Version), text)
}
