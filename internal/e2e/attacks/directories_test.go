package attacks

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/anycert/anycert/internal/testenv/certs"
)

// directories are those of a file sink, where somebody else has been.
func directories() []attack {
	const untouched = "; the other directory is untouched"
	return []attack{
		{"link-certificate", "the certificate's place in the directory is a symlink to another directory", "exit 1: `that anycert did not make`" + untouched, func(s *scene) string {
			victim := s.victim()
			s.Must(os.Mkdir(s.Files, 0o755))
			s.Must(os.Symlink(victim, filepath.Join(s.Files, "example")))
			return s.syncFiles("that anycert did not make") + s.untouched(victim)
		}},
		{"link-private", "its folder for versions is a symlink to another directory", "exit 1: `.anycert is a symlink, not a directory`" + untouched, func(s *scene) string {
			victim := s.victim()
			s.Must(os.Mkdir(s.Files, 0o755))
			s.Must(os.Symlink(victim, filepath.Join(s.Files, ".anycert")))
			return s.syncFiles(".anycert is a symlink, not a directory") + s.untouched(victim)
		}},
		{"link-race", "it becomes a symlink to another directory, and back, a thousand times a second while keys are written", "nothing is written elsewhere; at rest, exit 0" + untouched, raced},
		{"link-key", "the key's file is replaced by a symlink to a file of somebody else", "exit 0: `replaced`" + untouched, func(s *scene) string {
			victim := s.victim()
			s.issued("example", certs.Options{})
			s.syncFiles()
			key := filepath.Join(s.Files, "example", "privkey.pem")
			s.Must(os.Remove(key))
			s.Must(os.Symlink(filepath.Join(victim, "file"), key))
			return s.syncFiles("replaced") + s.untouched(victim)
		}},
		{"pipe-file", "a file of the certificate is replaced by a named pipe", "exit 0: `replaced`", func(s *scene) string {
			s.issued("example", certs.Options{})
			s.syncFiles()
			chain := filepath.Join(s.Files, "example", "fullchain.pem")
			s.Must(os.Remove(chain))
			s.Must(syscall.Mkfifo(chain, 0o600))
			return s.syncFiles("replaced")
		}},
		{"pipe-temporary", "named pipes lie where the sink locks, and where it makes its temporary files", "exit 0; the certificate is served", func(s *scene) string {
			s.issued("example", certs.Options{})
			s.Must(os.MkdirAll(filepath.Join(s.Files, ".anycert"), 0o755))
			for _, name := range []string{"lock", "tmp-x", "reload.hub.files.example"} {
				s.Must(syscall.Mkfifo(filepath.Join(s.Files, ".anycert", name), 0o600))
			}
			told := s.syncFiles()
			if !strings.Contains(s.served(), "BEGIN CERTIFICATE") {
				return told + "; nothing is served"
			}
			return told + "; the certificate is served"
		}},
		{"dir-planted", "everybody may write into the directory, and somebody made `.anycert` there before us, to be given the keys", "exit 1: `who could put it there, since others may write into`; no key is there", func(s *scene) string {
			s.Must(os.Mkdir(s.Files, 0o700))
			s.Must(os.Chmod(s.Files, 0o777))
			private := filepath.Join(s.Files, ".anycert")
			s.Must(os.Mkdir(private, 0o755))
			s.Must(os.Chown(private, stranger, stranger))
			return s.syncFiles("who could put it there, since others may write into") + s.keyless()
		}},
		{"dir-tmp", "the directory lies below one like /tmp, and somebody made it before us", "exit 1: `who could put it there, since everybody may write into`; no key is there", func(s *scene) string {
			s.Must(os.Chmod(s.Dir, os.ModeSticky|0o777))
			s.Must(os.Mkdir(s.Files, 0o755))
			s.Must(os.Chown(s.Files, stranger, stranger))
			config := s.config(toFiles) // it lies there too, and is root's
			s.issued("example", certs.Options{})
			return told(s.Run(config, "sync"), "who could put it there, since everybody may write into") + s.keyless()
		}},
		{"dir-swapped", "everybody may write into the directory around it, and somebody has put a symlink to /etc in its place", "exit 1: `who could put it there, since everybody may write into`" + untouched, func(s *scene) string {
			victim := s.victim()
			s.Must(os.Mkdir(s.Path("around"), 0o700))
			s.Files = s.Path("around/files")
			s.syncFiles()
			s.Must(os.Chmod(s.Path("around"), 0o777))
			s.Must(os.Rename(s.Files, s.Files+"-before"))
			s.Must(os.Symlink(victim, s.Files))
			s.Must(os.Lchown(s.Files, stranger, stranger))
			return s.syncFiles("who could put it there, since everybody may write into") + s.untouched(victim)
		}},
		{"dir-read", "another user looks for the key while it is written, again and again", "he reads nothing; exit 0", watched},
		{"pull-git", "`pull` into a git work tree that does not ignore the folder: one `git add` from being published", "exit 1: `which does not ignore it`; nothing is written", func(s *scene) string {
			s.issued("example", certs.Options{})
			s.Do(s.Program("/usr/bin/git", "init", "-q", s.Dir))
			return told(s.Run(s.config(toFiles), "pull", "--dir", s.Files), "which does not ignore it") + s.written()
		}},
		{"pull-git-config", "`pull` into a git work tree whose own configuration names commands to run", "exit 1: `which does not ignore it`; the command is not run", func(s *scene) string {
			s.issued("example", certs.Options{})
			s.Do(s.Program("/usr/bin/git", "init", "-q", s.Dir))
			for _, key := range []string{"core.fsmonitor", "core.sshCommand", "core.pager", "alias.check-ignore"} {
				s.Do(s.Program("/usr/bin/git", "-C", s.Dir, "config", key, "touch "+s.Path("ran")+" #"))
			}
			s.File("tracked", "x")
			return told(s.Run(s.config(toFiles), "pull", "--dir", s.Files), "which does not ignore it") + s.ran("; the command is not run")
		}},
	}
}

// victim is a directory with a file in it that anycert has no business with.
func (s *scene) victim() (dir string) {
	s.T.Helper()
	s.Must(os.Mkdir(s.Path("victim"), 0o755))
	s.File("victim/file", "of somebody else")
	return s.Path("victim")
}

func (s *scene) untouched(victim string) string {
	s.T.Helper()
	text, err := os.ReadFile(filepath.Join(victim, "file"))
	if found := s.files(victim); err != nil || string(text) != "of somebody else" || len(found) != 1 {
		return "; the other directory holds " + strings.Join(found, ", ") + " " + string(text)
	}
	return "; the other directory is untouched"
}

// syncFiles is a sync to the directory, of a certificate that is good.
func (s *scene) syncFiles(words ...string) string {
	s.T.Helper()
	if _, err := s.Vault.Client().KVv2("secret").GetMetadata(s.T.Context(), s.id+"/certs/example"); err != nil {
		s.issued("example", certs.Options{})
	}
	r, late := s.timed(20*time.Second, s.Command(s.config(toFiles), "sync"))
	return told(r, words...) + late
}

// keyless tells whether there is a key anywhere below the scene's directory.
func (s *scene) keyless() string {
	s.T.Helper()
	for _, path := range s.files(s.Files) {
		if strings.HasSuffix(path, "privkey.pem") || strings.HasSuffix(path, "combined.pem") {
			return "; there is " + path
		}
	}
	return "; no key is there"
}

func raced(s *scene) string {
	victim := s.victim()
	s.Must(os.Mkdir(s.Files, 0o755))
	private, aside, link := filepath.Join(s.Files, ".anycert"), s.Path("aside"), s.Path("link")
	s.Must(os.Symlink(victim, link))
	ctx, stop := context.WithCancel(s.T.Context())
	var attacker sync.WaitGroup
	attacker.Go(func() {
		for ctx.Err() == nil {
			if os.Rename(private, aside) == nil {
				_ = os.Rename(link, private)
				time.Sleep(200 * time.Microsecond)
				_ = os.Rename(private, link)
				_ = os.Rename(aside, private)
			}
			time.Sleep(time.Millisecond)
		}
	})
	for range 8 {
		s.issued("example", certs.Options{})
		s.Run(s.config(toFiles), "sync")
	}
	stop()
	attacker.Wait()
	seen := "nothing is written elsewhere"
	if s.untouched(victim) != "; the other directory is untouched" {
		seen = "something is written elsewhere"
	}
	return seen + "; at rest, " + s.syncFiles() + s.untouched(victim)
}

func watched(s *scene) string {
	s.open()
	script := `while :; do for f in ` + s.Files + `/.anycert/*/* ` + s.Files + `/.anycert/tmp-*; do [ -f "$f" ] && cat "$f"; done; done 2>/dev/null`
	cmd := s.Program("/bin/sh", "-c", script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: stranger, Gid: stranger}, Setpgid: true}
	out, err := os.Create(s.Path("read"))
	s.Must(err)
	defer out.Close()
	cmd.Stdout = out
	s.Must(cmd.Start())
	var told string
	for range 5 {
		s.issued("example", certs.Options{})
		told = s.syncFiles()
	}
	s.Must(syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL))
	_ = cmd.Wait()
	text, err := os.ReadFile(s.Path("read"))
	s.Must(err)
	if strings.Contains(string(text), "PRIVATE KEY") {
		return "he reads a key; " + told
	}
	return "he reads nothing; " + told
}
