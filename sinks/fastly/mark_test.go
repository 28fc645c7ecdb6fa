package fastly

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/anycert/anycert"
)

func TestLabelIsReadBack(t *testing.T) {
	long := strings.Repeat("a", 63)
	mark := anycert.Mark{Owner: "example-prod", Certificate: "example", Time: time.Date(2026, 2, 1, 12, 0, 0, 0, time.UTC), Digest: anycert.Digest{1, 2, 3}}
	longest := mark
	longest.Owner, longest.Certificate = long, long
	key := keyID("aad823355d14cdc06a5299f5b92224a37e600c65")
	tests := []struct {
		name   string
		label  label
		claims int // that have room
	}{
		{"key object", label{mark: mark}, 0},
		{"certificate", label{mark: mark, key: key}, 0},
		{"with claims", label{mark: mark, key: key, claims: []string{"AAAA", "b-_9"}}, 2},
		{"longest names", label{mark: longest, key: key, claims: []string{"AAAA", "BBBB"}}, 1},
		{"too many claims", label{mark: mark, key: key, claims: strings.Fields(strings.Repeat("AAAA ", 100))}, 28},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			text := test.label.String()
			if len(text) > maxName {
				t.Errorf("the name has %d characters: %s", len(text), text)
			}
			got, ok := parseLabel(text)
			if !ok {
				t.Fatalf("%q is not read back", text)
			}
			want := test.label
			want.claims = want.claims[:test.claims]
			if diff := cmp.Diff(&want, got, cmp.AllowUnexported(label{}), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%q (-want +got):\n%s", text, diff)
			}
		})
	}
}

func TestOtherNamesAreNotOurs(t *testing.T) {
	good := label{mark: anycert.Mark{Owner: "o", Certificate: "c", Time: time.Now().UTC(), Digest: anycert.Digest{1}}, key: keyID(strings.Repeat("ab", 20))}.String()
	fields := strings.Fields(good)
	change := func(i int, to string) string {
		changed := append([]string(nil), fields...)
		changed[i] = to
		return strings.Join(changed, " ")
	}
	for _, name := range []string{
		"", "anycert", "My certificate", good + " x y", " " + good,
		change(0, "Anycert"), change(1, "owner"), change(1, "Owner/c"), change(1, "o/c/d"),
		change(2, "yesterday"), change(3, "abc"), change(4, "not-base64!"), change(4, "AAAA"),
	} {
		if l, ok := parseLabel(name); ok {
			t.Errorf("%q was taken for ours: %+v", name, l)
		}
	}
	if _, ok := parseLabel(good); !ok {
		t.Errorf("%q is not read back", good)
	}
}

func FuzzParseLabel(f *testing.F) {
	f.Add(label{mark: anycert.Mark{Owner: "o", Certificate: "c", Digest: anycert.Digest{1}}, key: keyID(strings.Repeat("ab", 20)), claims: []string{"AAAA"}}.String())
	f.Fuzz(func(t *testing.T, name string) {
		l, ok := parseLabel(name)
		if !ok {
			return
		}
		again, ok := parseLabel(l.String())
		if !ok || again.mark != l.mark || again.key != l.key {
			t.Errorf("%q is read as %+v, and that as %+v", name, l, again)
		}
	})
}
