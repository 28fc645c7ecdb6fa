package file

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/anycert/anycert/sinks/sinktest"
)

// A process that has the directory mounted elsewhere, as a container has, sees the
// new pair without being started anew. It needs root.
func TestBindMount(t *testing.T) {
	dir, mounted := filepath.Join(t.TempDir(), "certificates"), t.TempDir()
	s := open(t, Config{Dir: dir}, sinktest.Owner, nil)
	pairs := sinktest.Issue(t, "example", []string{"example.com"}, 1, 2)
	doPass(t, s, pairs[0])

	// The directory's own path is hidden, so that nothing but the mount leads to it.
	reader := startReader(t, `mount --bind "$1" "$2" && mount -t tmpfs none "$1" && cd "$2" &&
		while read -r file; do cat "$file"; echo .; done`, dir, mounted)
	check := func(want sinktest.Pair) {
		t.Helper()
		if got := reader.ask(t, "example/fullchain.pem"); got != string(want.Bundle.FullChainPEM()) {
			t.Error("the process with the mount reads another certificate")
		}
		if got := reader.ask(t, "example/privkey.pem"); got != want.Bundle.KeyPEM().Reveal() {
			t.Error("the process with the mount reads another key")
		}
	}
	check(pairs[0])
	doPass(t, s, pairs[1])
	check(pairs[1])
	must(t, os.RemoveAll(s.path(private))) // and after a repair
	must(t, s.Push(t.Context(), targetOf(s, "example"), pairs[0].Entry, pairs[0].Bundle))
	check(pairs[0])
}

// reader is a process in a mount namespace of its own that prints files.
type reader struct {
	in  io.Writer
	out *bufio.Reader
}

func startReader(t *testing.T, script string, args ...string) *reader {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "unshare", append([]string{"--mount", "sh", "-c", script, "sh"}, args...)...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	return &reader{in, bufio.NewReader(out)}
}

// ask returns a file as the process sees it.
func (r *reader) ask(t *testing.T, file string) string {
	t.Helper()
	_, err := io.WriteString(r.in, file+"\n")
	must(t, err)
	text := ""
	for {
		line, err := r.out.ReadString('\n')
		must(t, err)
		if line == ".\n" {
			return text
		}
		text += line
	}
}
