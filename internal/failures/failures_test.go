package failures_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/anycert/anycert/internal/failures"
)

func TestJoin(t *testing.T) {
	if err := failures.Join(nil, nil); err != nil {
		t.Errorf("nothing became %v", err)
	}
	if err := failures.Join(nil, io.EOF); err != io.EOF {
		t.Errorf("a single error became %v", err)
	}
	var many []error
	for n := range 7 {
		many = append(many, fmt.Errorf("e%d", n))
	}
	err := failures.Join(append(many, io.EOF)...)
	if want := "e0; e1; e2; e3; e4; and 3 more like these"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	if !errors.Is(err, io.EOF) {
		t.Error("what is not told is not found either")
	}
}
