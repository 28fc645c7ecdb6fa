package attacks

import (
	"os"
	"strings"
	"syscall"
	"time"
)

// stranger is a user who is neither root nor the one that runs anycert.
const stranger = 54321

// configurations are hostile, or lie where others can change them.
func configurations() []attack {
	bomb := "a: &a [x, x, x, x, x, x, x, x, x]\n"
	for i := range 9 {
		bomb += string(rune('b'+i)) + ": &" + string(rune('b'+i)) + " [" + strings.TrimSuffix(strings.Repeat("*"+string(rune('a'+i))+", ", 9), ", ") + "]\n"
	}
	return []attack{
		{"yaml-bomb", "YAML aliases that would expand to a thousand million entries", "exit 1: `YAML aliases are not used here`", checked(bomb, "YAML aliases are not used here")},
		{"yaml-twice", "a field that stands twice, so that a reviewer sees one and the program another", "exit 1: `this field is there twice`", checked("owner: other\n", "this field is there twice")},
		{"yaml-deep", "a megabyte of opening brackets", "exit 1: `nested too deeply`", checked("x: "+strings.Repeat("[", 1<<20-1000), "nested too deeply")},
		{"yaml-long", "a configuration of 64 MiB", "exit 1: `it has more than 1048576 bytes`", checked(strings.Repeat("# x\n", 16<<20), "it has more than 1048576 bytes")},
		{"yaml-key", "a token is written into the configuration by mistake", "exit 1: `a secret is never written into this file`; it is not shown", func(s *scene) string {
			r := s.Run(s.config("sinks: [{name: edge, type: fastly, certificates: [\"*\"], config: {token: "+s.FastlyToken+", configurations: [x]}}]\n"), "check")
			return told(r, "a secret is never written into this file") + s.unseen(r, s.FastlyToken)
		}},
		{"config-written", "others may write the configuration (mode 0666)", "exit 1: `others may write it (mode 0666): chmod go-w`", guarded(func(s *scene, path string) { s.Must(os.Chmod(path, 0o666)) }, "others may write it (mode 0666): chmod go-w")},
		{"config-group", "its group may write it (mode 0660)", "exit 1: `others may write it (mode 0660): chmod go-w`", guarded(func(s *scene, path string) { s.Must(os.Chmod(path, 0o660)) }, "others may write it (mode 0660): chmod go-w")},
		{"config-replaced", "everybody may write into its directory", "exit 1: `everybody may replace it`", guarded(func(s *scene, _ string) { s.Must(os.Chmod(s.Dir, 0o777)) }, "everybody may replace it")},
		{"config-owned", "it belongs to another user", "exit 1: `it belongs to another user (54321), who may write it`", guarded(func(s *scene, path string) { s.Must(os.Chown(path, stranger, -1)) }, "it belongs to another user (54321), who may write it")},
		{"config-pipe", "it is a named pipe that nobody writes to", "exit 1: `it is not a regular file`", guarded(func(s *scene, path string) {
			s.Must(os.Remove(path))
			s.Must(syscall.Mkfifo(path, 0o600))
		}, "it is not a regular file")},
		{"token-written", "others may write the file of a token, and lead our keys into an account of theirs", "exit 1: `others may write it (mode 0622): chmod go-w`", token(func(s *scene, path string) { s.Must(os.Chmod(path, 0o622)) }, "others may write it (mode 0622): chmod go-w")},
		{"token-pipe", "the file of a token is a named pipe", "exit 1: `it is not a regular file`", token(func(s *scene, path string) {
			s.Must(os.Remove(path))
			s.Must(syscall.Mkfifo(path, 0o600))
		}, "it is not a regular file")},
		{"token-endless", "the file of a token is a link to /dev/zero", "exit 1: `it is not a regular file`", token(func(s *scene, path string) {
			s.Must(os.Remove(path))
			s.Must(os.Symlink("/dev/zero", path))
		}, "it is not a regular file")},
		{"token-link", "it is a link in a directory that everybody may write into", "exit 1: `everybody may replace it`", token(func(s *scene, path string) {
			s.Must(os.Mkdir(s.Path("open"), 0o700))
			s.Must(os.Chmod(s.Path("open"), 0o777))
			s.Must(os.Rename(path, s.Path("real")))
			s.Must(os.Symlink(s.Path("real"), s.Path("open/link")))
			s.Must(os.Symlink(s.Path("open/link"), path))
		}, "everybody may replace it")},
		{"token-read", "every user of the machine can read the file of a token", "exit 0: `every user of this machine may read it (mode 0644): chmod o-r`", func(s *scene) string {
			s.open()
			path := s.File("fly-token", s.FlyToken)
			s.Must(os.Chmod(path, 0o644))
			return told(s.Run(s.config(toFly(path, s.Fly.URL)), "check"), "every user of this machine may read it (mode 0644): chmod o-r")
		}},
		{"token-mounted", "and no attack: Kubernetes mounts a token with mode 0644, through two links, in a directory that is open to all and sticky", "exit 0; there is no warning of it", func(s *scene) string {
			s.open()
			s.Must(os.MkdirAll(s.Path("volume/..2026_11_22"), 0o755))
			s.Must(os.Chmod(s.Path("volume"), os.ModeSticky|0o777))
			s.Must(os.Chmod(s.File("volume/..2026_11_22/token", s.FlyToken), 0o644))
			s.Must(os.Symlink("..2026_11_22", s.Path("volume/..data")))
			s.Must(os.Symlink("..data/token", s.Path("volume/token")))
			r := s.Run(s.config(toFly(s.Path("volume/token"), s.Fly.URL)), "check")
			if r.Says("warning") {
				return r.String()
			}
			return told(r) + "; there is no warning of it"
		}},
		{"ca-written", "others may write the file of CAs that Vault is trusted by", "exit 1: `others may write it (mode 0666): chmod go-w`", func(s *scene) string {
			ca := s.File("ca.pem", string(s.Strangers.PEM()))
			s.Must(os.Chmod(ca, 0o666))
			r := s.Run(s.Config("config.yaml", "version: 1\nowner: hub\nstore: {vault: {address: \"https://vault.example.com\", ca_cert: "+ca+"}}\n", s), "check")
			return told(r, "others may write it (mode 0666): chmod go-w")
		}},
	}
}

// checked is a check of a configuration with something in it.
func checked(rest, word string) func(s *scene) string {
	return func(s *scene) string {
		head := "version: 1\nowner: hub\nstore: {local: {path: anycert.db}}\n"
		r, late := s.timed(10*time.Second, s.Command(s.File("config.yaml", head+rest), "check"))
		return told(r, word) + late
	}
}

// guarded is a check of a good configuration whose file was tampered with.
func guarded(tamper func(s *scene, path string), word string) func(s *scene) string {
	return func(s *scene) string {
		path := s.config(toFiles)
		tamper(s, path)
		r, late := s.timed(10*time.Second, s.Command(path, "check"))
		return told(r, word) + late
	}
}

// token is a sync with a credential whose file was tampered with.
func token(tamper func(s *scene, path string), word string) func(s *scene) string {
	return func(s *scene) string {
		path := s.File("fly-token", s.FlyToken)
		config := s.config(toFly(path, s.Fly.URL))
		tamper(s, path)
		r, late := s.timed(10*time.Second, s.Command(config, "sync"))
		return told(r, word) + late
	}
}

// toFly is a certificate at Fly.io, with a token from a file.
func toFly(token, endpoint string) string {
	return `
certificates: [{name: example, domains: [example.com]}]
sinks: [{name: app, type: fly, certificates: ["*"], config: {app: example-web, token: {file: ` + token + `}, hostnames: [example.com], endpoint: "` + endpoint + `"}}]
`
}
