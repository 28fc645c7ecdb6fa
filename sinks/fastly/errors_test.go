package fastly

import (
	"strings"
	"testing"
)

func TestClean(t *testing.T) {
	const key = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg\nshort\n-----END PRIVATE KEY-----"
	tests := []struct{ name, text, want string }{
		{"ordinary", "need at least one DNS name, got none", "need at least one DNS name, got none"},
		{"an id", "certificate ZwPwTJyjOePoOdUs0WvRO6 is enabled", "certificate ZwPwTJyjOePoOdUs0WvRO6 is enabled"},
		{"lines and control characters", "one\r\n\ttwo\x1b[31m\x00three\u202e", "one two [31m three"},
		{"PEM", "bad key " + key + " sent", "bad key […] sent"},
		{"PEM in JSON", "bad key " + strings.ReplaceAll(key, "\n", `\n`) + " sent", "bad key […] sent"},
		{"PEM cut off", "bad key " + key[:60], "bad key […]"},
		{"base64", "got MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg", "got […]"},
		{"hex", "got 30818702010030130607", "got 30818702010030130607"},
		{"longer hex", "got 3081870201003013060730818702", "got […]"},
		{"long", strings.Repeat("ä ", 300), strings.Repeat("ä ", 100) + "…"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := clean(test.text); got != test.want {
				t.Errorf("clean(%q) = %q, want %q", test.text, got, test.want)
			}
		})
	}
}
