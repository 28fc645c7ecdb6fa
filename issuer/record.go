package issuer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/anycert/anycert"
)

// form is how one kind of record is kept: as JSON with the number of its schema.
type form struct {
	kind   string
	schema int    // the highest that this code reads
	holds  string // for people, as in "reading the journal of the order"
	record string // what stands before its path
	cure   string // where it is not readable
	newer  string // what to do where it has a higher schema
}

// load reads a record into what into points to and returns its version; 0 when there is
// none. With ErrMalformed comes the version of what is not readable. A record of a higher
// schema is an error: whoever does not know it neither heeds nor overwrites it. No error
// quotes what was read, which may be a key.
func (f form) load(ctx context.Context, records anycert.Records, key string, into any) (int, error) {
	text, version, err := records.Load(ctx, f.kind, key)
	switch {
	case errors.Is(err, anycert.ErrNotFound):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("reading %s: %w", f.holds, err)
	}
	body := []byte(text.Reveal())
	var head struct{ Schema int }
	err = json.Unmarshal(body, &head)
	if err == nil && head.Schema > f.schema {
		return 0, fmt.Errorf("%s %s/%s was written by a newer anycert (schema %d, this one knows %d): %s", f.record, f.kind, key, head.Schema, f.schema, f.newer)
	}
	if err != nil || head.Schema < 1 || json.Unmarshal(body, into) != nil {
		return version, fmt.Errorf("%s %s/%s is not readable%s: %w", f.record, f.kind, key, f.cure, anycert.ErrMalformed)
	}
	return version, nil
}
