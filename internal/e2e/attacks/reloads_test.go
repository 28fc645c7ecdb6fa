package attacks

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/anycert/anycert/internal/testenv/certs"
)

// reloads are commands that are hostile, or are given hostile words.
func reloads() []attack {
	return []attack{
		{"reload-shell", "the arguments of a reload hold `$(…)`, backquotes, `;`, `|`, `>` and line ends", "exit 0; no shell sees them", func(s *scene) string {
			return s.reload(ends, fmt.Sprintf(`[test, "x$(touch %s); touch %[1]s | touch %[1]s > %[1]s\n"]`, s.Path("ran")), "") + s.ran("; no shell sees them")
		}},
		{"reload-hangs", "the reload hangs, and has started a child that hangs", "exit 1: `did not end within 1s and was killed`; neither runs on", func(s *scene) string {
			seen := s.reload(hangs, fmt.Sprintf(`[sh, -c, "sleep 611 & echo $! > %s; sleep 612"]`, s.Path("pid")), "did not end within 1s and was killed")
			text, err := os.ReadFile(s.Path("pid"))
			s.Must(err)
			s.eventually("the child has ended", func() bool { return !running(strings.TrimSpace(string(text))) })
			return seen + "; neither runs on"
		}},
		{"reload-spews", "the reload prints without end", "exit 1: `did not end within 1s and was killed`", func(s *scene) string {
			return s.reload(hangs, "[sh, -c, \"yes spew\"]", "did not end within 1s and was killed")
		}},
		{"reload-key", "the reload prints the private key, and fails", "exit 1: `its output is left out, for it holds a private key`", func(s *scene) string {
			return s.reload(ends, `[sh, -c, "cat {{.Files}}/example/privkey.pem; exit 1"]`, "its output is left out, for it holds a private key")
		}},
		{"reload-ansi", "the reload prints escape codes and line ends, and fails", "exit 1: `it printed: [2J ERROR msg=x`" + quiet, func(s *scene) string {
			s.issued("example", certs.Options{})
			r := s.Run(s.config(reloading(ends, `[sh, -c, "printf '\\033[2J\\nERROR msg=x\\r'; exit 1"]`)), "sync")
			return told(r, "it printed: [2J ERROR msg=x") + escapes(r)
		}},
		{"reload-env", "the reload looks for tokens in its environment", "exit 1: `it printed: LANG=C`; it is not shown", func(s *scene) string {
			s.issued("example", certs.Options{})
			cmd := s.Command(s.config(reloading(ends, `[sh, -c, "env | grep -v -e ^PATH= -e ^PWD= -e ^_= -e ^OLDPWD= -e ^SHLVL=; exit 1"]`)), "sync")
			cmd.Env = append(cmd.Env, "VAULT_TOKEN=hvs.t0ps3cr3t-of-the-test")
			r := s.Do(cmd)
			return told(r, "it printed: LANG=C") + s.unseen(r, "hvs.t0ps3cr3t-of-the-test")
		}},
	}
}

// The limits of commands that end, on a busy machine as well, and of others.
const ends, hangs = "1m", "1s"

func reloading(limit, command string) string {
	return `
certificates: [{name: example, domains: [example.com]}]
sinks: [{name: files, type: file, certificates: ["*"], config: {dir: {{.Files}}, reload_timeout: ` + limit + `, reload: ` + command + `}}]
`
}

// reload is a sync with a reload command.
func (s *scene) reload(limit, command, word string) string {
	s.T.Helper()
	s.issued("example", certs.Options{})
	r, late := s.timed(15*time.Second, s.Command(s.config(reloading(limit, command)), "sync"))
	if word == "" {
		return told(r) + late
	}
	return told(r, word) + late
}

// running reports whether a process is there that is no zombie.
func running(pid string) bool {
	text, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	return err == nil && !strings.Contains(string(text), ") Z ")
}
