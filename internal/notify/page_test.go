package notify

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/reconcile"
)

// page is what docs/alarms.md says, and block its only block of a language.
func page(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/alarms.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func block(t *testing.T, language string) string {
	t.Helper()
	found := regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```").FindAllStringSubmatch(page(t), -1)
	if len(found) != 1 {
		t.Fatalf("docs/alarms.md has %d blocks of %s", len(found), language)
	}
	return found[0][1]
}

// The example of the page is what is sent: each field, in its order.
func TestExampleOnThePage(t *testing.T) {
	example := block(t, "json")
	decoder := json.NewDecoder(strings.NewReader(example))
	decoder.DisallowUnknownFields()
	var m message
	if err := decoder.Decode(&m); err != nil {
		t.Fatal(err)
	}
	body, err := m.Event.body(m.Hub)
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := json.Indent(&got, body, "", "  "); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(example, got.String()+"\n"); diff != "" {
		t.Error(diff)
	}
}

// The commands of the page accept our signature, and no other.
func TestVerifyingOnThePage(t *testing.T) {
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	key, err := signingKey(anycert.NewSecret(secret))
	if err != nil {
		t.Fatal(err)
	}
	body, err := event().body("prod")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "body.json"), body, 0o600); err != nil {
		t.Fatal(err)
	}
	now := strconv.FormatInt(time.Now().Unix(), 10)
	old := strconv.FormatInt(time.Now().Add(-time.Hour).Unix(), 10)
	for _, test := range []struct {
		name, timestamp, signature string
		right                      bool
	}{
		{"right", now, sign(key, "msg_1", now, body), true},
		{"of another body", now, sign(key, "msg_1", now, []byte("{}")), false},
		{"of another key", now, sign([]byte("another key of thirty-two bytes!"), "msg_1", now, body), false},
		{"too old", old, sign(key, "msg_1", old, body), false},
	} {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", block(t, "sh"))
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "WEBHOOK_SECRET="+secret, "id=msg_1", "timestamp="+test.timestamp, "signature="+test.signature)
		if out, err := cmd.CombinedOutput(); (err == nil) != test.right || len(out) > 0 {
			t.Errorf("%s: %v %s", test.name, err, out)
		}
	}
}

// Each kind of alarm has its place on the page, where alerts lead to.
func TestKindsOnThePage(t *testing.T) {
	text := page(t)
	for _, kind := range append(reconcile.AlarmKinds(), More) {
		if !strings.Contains(text, "\n### "+string(kind)+"\n") || !strings.Contains(text, "\n| `"+string(kind)+"` |") {
			t.Errorf("docs/alarms.md says nothing of %s", kind)
		}
		if got, want := summary(reconcile.Alarm{Kind: kind}), summary(reconcile.Alarm{}); kind != More && got == want {
			t.Errorf("%s has no summary", kind)
		}
	}
}
