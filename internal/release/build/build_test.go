package build

import (
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParsePlatforms(t *testing.T) {
	got, err := ParsePlatforms("linux/amd64, darwin/arm64")
	if diff := cmp.Diff([]Platform{{"linux", "amd64"}, {"darwin", "arm64"}}, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for _, list := range []string{"", "linux", "linux/", "/arm64", "linux/amd64,"} {
		if got, err := ParsePlatforms(list); err == nil {
			t.Errorf("%q is %v", list, got)
		}
	}
}

// The test's own binary stands for any.
func TestReadHonoursSourceDateEpoch(t *testing.T) {
	for epoch, want := range map[string]time.Time{"0": time.Unix(0, 0), "1000000000": time.Unix(1e9, 0)} {
		t.Setenv("SOURCE_DATE_EPOCH", epoch)
		binary, err := Read(os.Args[0], Host())
		if err != nil {
			t.Fatal(err)
		}
		if !binary.Time.Equal(want) || binary.Time.Location() != time.UTC {
			t.Errorf("SOURCE_DATE_EPOCH=%s makes it %s", epoch, binary.Time)
		}
	}
	t.Setenv("SOURCE_DATE_EPOCH", "yesterday")
	if _, err := Read(os.Args[0], Host()); err == nil {
		t.Error("SOURCE_DATE_EPOCH=yesterday is taken")
	}
}
