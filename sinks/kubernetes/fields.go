package kubernetes

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// fieldSet is a set of an object's fields as managedFields writes it: "f:" and the
// field's name lead to the fields below it
// (https://kubernetes.io/docs/reference/using-api/server-side-apply/).
type fieldSet map[string]fieldSet

// has reports whether the field at path is in the set.
func (f fieldSet) has(path ...string) bool {
	for _, name := range path {
		below, ok := f["f:"+name]
		if !ok {
			return false
		}
		f = below
	}
	return true
}

// below lists the fields right under path.
func (f fieldSet) below(path ...string) []string {
	for _, name := range path {
		f = f["f:"+name]
	}
	var names []string
	for _, key := range slices.Sorted(maps.Keys(f)) {
		if name, ok := strings.CutPrefix(key, "f:"); ok {
			names = append(names, name)
		}
	}
	return names
}

// write is what one field manager did to an object.
type write struct {
	manager string
	time    time.Time
	fields  fieldSet
}

// writes reads managedFields. An entry that cannot be read is left out: it is the
// API server's own book-keeping, and whoever can falsify it can write the object.
func writes(entries []metav1.ManagedFieldsEntry) []write {
	var all []write
	for _, entry := range entries {
		if entry.FieldsV1 == nil {
			continue
		}
		var fields fieldSet
		if json.Unmarshal(entry.FieldsV1.GetRawBytes(), &fields) != nil {
			continue
		}
		w := write{manager: entry.Manager, fields: fields}
		if entry.Time != nil {
			w.time = entry.Time.Time
		}
		all = append(all, w)
	}
	return all
}

// promised lists the fields that a push sets, as paths.
func (s *Sink) promised() [][]string {
	paths := [][]string{{"data", certificateKey}, {"data", privateKey}}
	for key := range s.label() {
		paths = append(paths, []string{"metadata", "labels", key})
	}
	for _, key := range []string{annotationOwner, annotationCertificate, annotationTime, annotationDigest} {
		paths = append(paths, []string{"metadata", "annotations", key})
	}
	for key := range s.config.Annotations {
		paths = append(paths, []string{"metadata", "annotations", key})
	}
	return paths
}

// writer names the field manager that last took a promised field from us, or "".
// Fields that we hold as well do not count: they have the value that we gave.
// Who only removed a field is not known: managedFields forgets it.
func (s *Sink) writer(all []write) string {
	var last write
	ours := s.held(all)
	for _, w := range all {
		if w.manager == s.manager || !w.time.After(last.time) && last.manager != "" {
			continue
		}
		for _, path := range s.promised() {
			if w.fields.has(path...) && !ours.has(path...) {
				last = w
				break
			}
		}
	}
	return last.manager
}

// held is the set of fields that we applied last and nobody changed since.
func (s *Sink) held(all []write) fieldSet {
	for _, w := range all {
		if w.manager == s.manager {
			return w.fields
		}
	}
	return nil
}
