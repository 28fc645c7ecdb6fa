package anycert_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/anycert/anycert"
)

// A shell reads back what was written, from one line.
func TestShellWord(t *testing.T) {
	for text, want := range map[string]string{
		"":                                     "''",
		"kubernetes-admin@k8":                  "kubernetes-admin@k8",
		"arn:aws:eks:eu-central-1:1:cluster/a": "arn:aws:eks:eu-central-1:1:cluster/a",
		"my certs":                             "'my certs'",
		"it's $HOME":                           `'it'\''s $HOME'`,
		"~/x":                                  "'~/x'",
		"#x":                                   "'#x'",
		"é":                                    "'é'",
		"a\nb\\'":                              `$'a\x0ab\\\''`,
		"\u2028":                               `$'\xe2\x80\xa8'`,
		"\x011":                                `$'\x011'`,
	} {
		got := anycert.ShellWord(text)
		if got != want || strings.Contains(got, "\n") {
			t.Errorf("%q is written %s, want %s", text, got, want)
		}
		back, err := exec.CommandContext(t.Context(), "bash", "-c", "printf %s "+got).Output()
		if err != nil || string(back) != text {
			t.Errorf("%q is read %q (%v)", text, back, err)
		}
	}
}
