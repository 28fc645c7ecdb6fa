package attacks

import (
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/leak"
	"github.com/anycert/anycert/internal/testenv/world"
)

// scene is what one attack has to itself: a folder, and a prefix in the world's Vault.
type scene struct {
	*world.World
	id string
}

func newScene(t *testing.T, w *world.World, id string) *scene {
	within := w.In(t)
	within.Dir = t.TempDir()
	within.Files = filepath.Join(within.Dir, "files")
	return &scene{within, id}
}

// config writes a configuration of a hub that has this scene's part of Vault.
func (s *scene) config(rest string) (path string) {
	s.T.Helper()
	return s.configAt(s.Vault.Addr, s.Root(), rest)
}

func (s *scene) configAt(vault, auth, rest string) (path string) {
	s.T.Helper()
	head := fmt.Sprintf("version: 1\nowner: hub\nhttp: {listen: \"127.0.0.1:0\"}\nstore: {vault: {address: %q, prefix: %s, auth: %s}}\n", vault, s.id, auth)
	return s.Config("config.yaml", head+rest, s)
}

// toFiles is a certificate that a file sink holds.
const toFiles = `
certificates: [{name: example, domains: [example.com]}]
sinks: [{name: files, type: file, certificates: ["*"], config: {dir: {{.Files}}}}]
`

// plant writes an entry as a person would, with `vault kv put`.
func (s *scene) plant(name string, certificate, key []byte) {
	s.T.Helper()
	_, err := s.Vault.Client().KVv2("secret").Put(s.T.Context(), s.id+"/certs/"+name, map[string]any{
		"tls.crt": string(certificate), "tls.key": string(key)})
	s.Must(err)
}

// issued plants a certificate that is good, but for what o says.
func (s *scene) issued(name string, o certs.Options) certs.Pair {
	s.T.Helper()
	pair := testenv.IssueFrom(s.T, s.Strangers, o)
	s.plant(name, pair.ChainPEM, pair.KeyPEM)
	return pair
}

// unseen tells whether a run showed a secret, in whatever disguise.
func (s *scene) unseen(r world.Result, secrets ...string) string {
	s.T.Helper()
	var needles []leak.Secret
	for _, secret := range secrets {
		if strings.HasPrefix(secret, "-----BEGIN") {
			needles = append(needles, leak.Secret{Name: "a key", PEM: []byte(secret)})
			continue
		}
		needles = append(needles, leak.Secret{Name: "a token", Token: secret})
	}
	search, err := leak.New(needles...)
	s.Must(err)
	if found := search.Bytes("the output", []byte(r.Stdout+r.Stderr)); len(found) > 0 {
		return fmt.Sprintf("; it is shown: %v: %v", found, r)
	}
	return "; it is not shown"
}

// told is how a run ended, with the words that it must have said; all of what it said
// when it did not.
func told(r world.Result, words ...string) string {
	seen := fmt.Sprintf("exit %d", r.Code)
	for _, word := range words {
		if !r.Says(word) {
			return r.String()
		}
		seen += ": `" + word + "`"
	}
	return seen
}

// files are the paths of all that is below a folder, in order.
func (s *scene) files(dir string) (paths []string) {
	s.T.Helper()
	s.Must(filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && path != dir {
			paths = append(paths, path)
		}
		if os.IsNotExist(err) && path == dir {
			return nil
		}
		return err
	}))
	return paths
}

// written tells what there is in the folder that certificates go to.
func (s *scene) written() string {
	s.T.Helper()
	if found := s.files(s.Files); len(found) > 0 {
		return fmt.Sprintf("; written: %q", found)
	}
	return "; nothing is written"
}

const quiet = "; no code reaches the terminal"

// escapes tells whether what a run said could do something to a terminal or a log.
func escapes(r world.Result) string {
	text := r.Stdout + r.Stderr
	for _, r := range text {
		if r != '\n' && (r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0) {
			return fmt.Sprintf("; it says %U: %q", r, text)
		}
	}
	return quiet
}

// timed runs a command that must not hang, and tells when it took longer than most,
// or more memory than 512 MiB.
func (s *scene) timed(most time.Duration, cmd *exec.Cmd) (world.Result, string) {
	s.T.Helper()
	begin := time.Now()
	r := s.Do(cmd)
	took := time.Since(begin)
	peak := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss >> 10
	switch {
	case took > most:
		return r, fmt.Sprintf("; it took %s", took)
	case peak > 512:
		return r, fmt.Sprintf("; it took %d MiB", peak)
	}
	return r, ""
}

// idle runs a command that must not do the work that somebody asks of it, and tells when
// it worked for more than most: others may be busy as well, so the clock counts nothing.
func (s *scene) idle(most time.Duration, cmd *exec.Cmd) (world.Result, string) {
	s.T.Helper()
	r, late := s.timed(time.Minute, cmd)
	if worked := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(); worked > most {
		late += fmt.Sprintf("; it worked for %s", worked)
	}
	return r, late
}

// hostile is a server that answers as it likes.
func (s *scene) hostile(answer http.HandlerFunc) *httptest.Server {
	server := httptest.NewServer(answer)
	s.T.Cleanup(server.Close)
	return server
}

// hostileTLS is hostile over TLS, with a certificate that ca, a file, vouches for.
func (s *scene) hostileTLS(answer http.HandlerFunc) (server *httptest.Server, ca string) {
	server = httptest.NewUnstartedServer(answer)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // who refuses its certificate is no news
	server.StartTLS()
	s.T.Cleanup(server.Close)
	return server, s.File("hostile-ca.pem", string(certs.ChainPEM(server.Certificate())))
}

// endless answers without end.
func endless(w http.ResponseWriter, head string) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(head))
	block := []byte(strings.Repeat(" ", 1<<16))
	for range (1 << 30) / len(block) {
		if _, err := w.Write(block); err != nil {
			return
		}
	}
}

// visits counts what comes to a host that nobody should come to, and whether a
// credential came along.
type visits struct {
	*httptest.Server
	seen chan string
}

func (s *scene) elsewhere() *visits {
	v := &visits{seen: make(chan string, 1000)}
	v.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		v.seen <- r.Method + " " + r.URL.Path + " " + fmt.Sprint(r.Header)
	}))
	v.Server.Start()
	s.T.Cleanup(v.Close)
	return v
}

func (v *visits) String() string {
	if n := len(v.seen); n > 0 {
		return fmt.Sprintf("; the other host was visited %d times: %s", n, <-v.seen)
	}
	return "; the other host is not visited"
}

func read(s *scene, name string) string {
	s.T.Helper()
	text, err := os.ReadFile(s.Path(name))
	s.Must(err)
	return string(text)
}

// open lets other users into the scene's folder.
func (s *scene) open() {
	s.T.Helper()
	for dir := s.Dir; dir != os.TempDir(); dir = filepath.Dir(dir) {
		s.Must(os.Chmod(dir, 0o755))
	}
}
