package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/anycert/anycert"
)

// kvPath is a place in a KV version 2 secrets engine.
type kvPath struct{ mount, path string }

func (p kvPath) data() string     { return p.mount + "/data/" + p.path }
func (p kvPath) metadata() string { return p.mount + "/metadata/" + p.path }
func (p kvPath) destroy() string  { return p.mount + "/destroy/" + p.path }

// metadata is what is known of an entry without reading it.
type metadata struct {
	version  int // the current one
	versions map[int]versionState
	custom   map[string]string
}

// current is the state of the current version.
func (m metadata) current() versionState { return m.versions[m.version] }

// versionState is what Vault keeps of one version.
type versionState struct {
	time      time.Time
	deleted   bool // and can be undeleted
	destroyed bool
}

// readMetadata costs one request. An entry that never had a version is ErrNotFound.
func (v *vault) readMetadata(ctx context.Context, path kvPath) (metadata, error) {
	answer, err := v.call(ctx, request{method: http.MethodGet, path: path.metadata(), capability: "read"})
	if err != nil {
		return metadata{}, err
	}
	var found struct {
		Data *struct {
			Current  *int              `json:"current_version"`
			Custom   map[string]string `json:"custom_metadata"`
			Versions map[string]struct {
				Created   time.Time `json:"created_time"`
				Deletion  string    `json:"deletion_time"`
				Destroyed bool      `json:"destroyed"`
			} `json:"versions"`
		} `json:"data"`
	}
	if json.Unmarshal(answer.body, &found) != nil || found.Data == nil || found.Data.Current == nil {
		return metadata{}, notKV(path.metadata())
	}
	current := *found.Data.Current
	if current == 0 { // metadata alone: somebody set it before the first write
		return metadata{}, anycert.ErrNotFound
	}
	version, ok := found.Data.Versions[strconv.Itoa(current)]
	if !ok || version.Created.IsZero() {
		return metadata{}, notKV(path.metadata())
	}
	all := metadata{version: current, versions: map[int]versionState{}, custom: found.Data.Custom}
	for text, version := range found.Data.Versions {
		number, err := strconv.Atoi(text)
		if err != nil {
			return metadata{}, notKV(path.metadata())
		}
		all.versions[number] = versionState{
			time:      version.Created.UTC(),
			deleted:   !version.Destroyed && past(version.Deletion),
			destroyed: version.Destroyed,
		}
	}
	return all, nil
}

// past reports whether a time has come at which a version was to be deleted
// (delete_version_after sets it into the future).
func past(deletion string) bool {
	at, err := time.Parse(time.RFC3339Nano, deletion)
	return err == nil && !time.Now().Before(at)
}

// data is one version of an entry. Its fields may be keys.
type data struct {
	path    string
	version int
	fields  map[string]json.RawMessage
}

// field returns a field, which must be a string. Errors name it and show nothing
// of it.
func (d data) field(name string) (string, error) {
	raw, ok := d.fields[name]
	if !ok {
		return "", fmt.Errorf("%w: %s has no field %s", anycert.ErrMalformed, d.path, name)
	}
	var text string
	if json.Unmarshal(raw, &text) != nil {
		return "", fmt.Errorf("%w: the field %s of %s is not a string", anycert.ErrMalformed, name, d.path)
	}
	return text, nil
}

// readData reads one version; 0 is the current one.
func (v *vault) readData(ctx context.Context, path kvPath, version int) (data, error) {
	r := request{method: http.MethodGet, path: path.data(), capability: "read"}
	if version != 0 {
		r.query = url.Values{"version": {strconv.Itoa(version)}}
	}
	answer, err := v.call(ctx, r)
	if err != nil {
		return data{}, err
	}
	var found struct {
		Data *struct {
			Data     map[string]json.RawMessage `json:"data"`
			Metadata *struct {
				Version int `json:"version"`
			} `json:"metadata"`
		} `json:"data"`
	}
	if json.Unmarshal(answer.body, &found) != nil || found.Data == nil || found.Data.Metadata == nil ||
		found.Data.Data == nil || version != 0 && found.Data.Metadata.Version != version {
		return data{}, notKV(path.data())
	}
	return data{path: path.data(), version: found.Data.Metadata.Version, fields: found.Data.Data}, nil
}

// written says what became of a write.
type written struct {
	version  int
	time     time.Time
	repeated bool // it was sent more than once; also told beside an error
}

// writeData writes the next version if expected is the current one, else
// ErrConflict.
func (v *vault) writeData(ctx context.Context, path kvPath, expected int, fields map[string]string) (written, error) {
	capability := "update"
	if expected == 0 {
		capability = "create"
	}
	answer, err := v.call(ctx, request{
		method: http.MethodPut, path: path.data(), capability: capability,
		body: map[string]any{"options": map[string]int{"cas": expected}, "data": fields},
	})
	if err != nil {
		return written{repeated: answer.repeated}, err
	}
	var found struct {
		Data *struct {
			Version int       `json:"version"`
			Created time.Time `json:"created_time"`
		} `json:"data"`
	}
	if json.Unmarshal(answer.body, &found) != nil || found.Data == nil || found.Data.Version != expected+1 {
		return written{}, notKV(path.data())
	}
	return written{version: found.Data.Version, time: found.Data.Created.UTC()}, nil
}

// patchCustom changes custom metadata and leaves what it does not name alone.
func (v *vault) patchCustom(ctx context.Context, path kvPath, change map[string]any) error {
	_, err := v.call(ctx, request{
		method: http.MethodPatch, path: path.metadata(), capability: "patch",
		body: map[string]any{"custom_metadata": change},
	})
	return err
}

// destroyVersions makes what versions of an entry held unreadable for good.
func (v *vault) destroyVersions(ctx context.Context, path kvPath, versions []int) error {
	_, err := v.call(ctx, request{
		method: http.MethodPut, path: path.destroy(), capability: "update",
		body: map[string][]int{"versions": versions},
	})
	return err
}

// deleteAll removes an entry with all its versions.
func (v *vault) deleteAll(ctx context.Context, path kvPath) error {
	_, err := v.call(ctx, request{method: http.MethodDelete, path: path.metadata(), capability: "delete"})
	if errors.Is(err, anycert.ErrNotFound) {
		return nil
	}
	return err
}

// list lists the entries below a path, folders left out.
func (v *vault) list(ctx context.Context, path kvPath) ([]string, error) {
	answer, err := v.call(ctx, request{
		method: http.MethodGet, path: path.metadata(), capability: "list", query: url.Values{"list": {"true"}},
	})
	if errors.Is(err, anycert.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var found struct {
		Data *struct {
			Keys []string `json:"keys"`
		} `json:"data"`
	}
	if json.Unmarshal(answer.body, &found) != nil || found.Data == nil || found.Data.Keys == nil {
		return nil, notKV(path.metadata())
	}
	return slices.DeleteFunc(found.Data.Keys, func(key string) bool { return strings.HasSuffix(key, "/") }), nil
}

// notKV says that an answer was no answer. What it held is left out: it may be a
// key, or the request itself.
func notKV(path string) error {
	return fmt.Errorf("%w: what came back for %s is not the answer of a KV version 2 secrets engine: check address and mount", anycert.ErrMalformed, path)
}
