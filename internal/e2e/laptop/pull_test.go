package laptop

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/certs"
)

const nginx = `ssl_certificate     {{ (certificate "example").fullchain }};
ssl_certificate_key {{ (certificate "example").privkey }};
`

// An environment is pulled, looked at, and pulled again when it is behind.
func TestPullFromAnEnvironment(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	l.write("nginx.conf.tmpl", nginx)
	l.write(".env.tmpl", "PASSWORD={{ secret \"secret/site/db#password\" }}\n")
	args := []string{"pull", "--env", "prod", "--template", "nginx.conf.tmpl", "--template", ".env.tmpl"}
	check := append(args, "--check")

	l.wants(l.run(check...), 2, "example behind "+l.home+"/certs/example", "nginx.conf behind "+l.home+"/nginx.conf it is missing", ".env behind "+l.home+"/.env it is missing")
	for _, name := range []string{"certs", "nginx.conf", ".env"} {
		if _, err := os.Lstat(filepath.Join(l.home, name)); err == nil {
			t.Errorf("--check made %s", name)
		}
	}
	l.wants(l.run(args...), 0, "example written "+l.home+"/certs/example version 1, expires ", "nginx.conf written", ".env written")
	if got, want := l.read("nginx.conf"), "ssl_certificate     "+l.home+"/certs/example/fullchain.pem;\nssl_certificate_key "+l.home+"/certs/example/privkey.pem;\n"; got != want {
		t.Errorf("nginx.conf is %q, want %q", got, want)
	}
	if got := l.read(".env"); got != "PASSWORD="+canary+"\n" {
		t.Errorf(".env is %q", got)
	}
	for _, name := range []string{"nginx.conf", ".env", "certs/example/privkey.pem"} {
		if info, err := os.Stat(filepath.Join(l.home, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Error(name, info, err)
		}
	}
	before, err := os.Stat(filepath.Join(l.home, ".env"))
	l.Must(err)
	l.wants(l.run(check...), 0, "example unchanged", "nginx.conf unchanged", ".env unchanged")
	l.wants(l.run(args...), 0, "example unchanged", "nginx.conf unchanged", ".env unchanged")
	if after, err := os.Stat(filepath.Join(l.home, ".env")); err != nil || !os.SameFile(before, after) || !before.ModTime().Equal(after.ModTime()) {
		t.Error("a pull in which nothing differed wrote .env")
	}

	l.put("anycert", "example", testenv.IssueFrom(t, l.Strangers, certs.Options{Names: []string{"example.com"}}))
	_, err = l.Vault.Client().KVv2("secret").Put(t.Context(), "site/db", map[string]any{"password": "another"})
	l.Must(err)
	l.wants(l.run(check...), 2, "example behind", "nginx.conf unchanged", ".env behind "+l.home+"/.env it differs from what the template makes now")
	l.wants(l.run(args...), 0, "example written "+l.home+"/certs/example version 2", "nginx.conf unchanged", ".env written")
}

// What a template may not, or cannot, is told; the certificates come all the same.
func TestPullTemplatesThatFail(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	pull := func(text string) []string {
		return []string{"pull", "--env", "prod", "example", "--template", l.write("x.conf.tmpl", text)}
	}
	l.wants(l.run(pull(`{{ secret "secret/other/db#password" }}`)...), 1, "example written", "x.conf failed", "permission denied", "reading secret/other/db#password")
	l.wants(l.run(pull(`{{ secret "secret/site/db#user" }}`)...), 1, "x.conf failed", "reading secret/site/db#user")
	l.wants(l.run(pull(`{{ (certificate "nothing").cert }}`)...), 1, "nothing missing", "it names the certificate nothing, which did not come")
	l.wants(l.run(pull(`{{ (secret "secret/site/db#password").x }}`)...), 1, "x.conf failed", "can't evaluate field x")
	l.wants(l.run(pull(`{{ range 1000000000 }}{{ end }}`)...), 1, "x.conf.tmpl:1", "range is not allowed")
	l.wants(l.run(pull(`{{ printf "%1000000000d" 1 }}`)...), 1, "the function printf is not allowed")
	if _, err := os.Lstat(filepath.Join(l.home, "x.conf")); err == nil {
		t.Error("a template that failed left a file")
	}

	path := l.write("y.conf.tmpl", "a")
	l.write("y.conf", "mine")
	l.wants(l.run("pull", "--env", "prod", "--template", path), 1, "y.conf refused", "anycert did not make it")
	l.wants(l.run("pull", "--env", "prod", "--template", path, "--check"), 1, "y.conf refused")
	l.wants(l.run("pull", "--env", "prod", "--template", path, "--out", "made"), 0, "y.conf written "+l.home+"/made/y.conf")
	l.write("made/y.conf", "by hand")
	l.wants(l.run("pull", "--env", "prod", "--template", path, "--out", "made"), 1, "somebody changed it since anycert made it")
	if got := l.read("made/y.conf") + l.read("y.conf"); got != "by handmine" {
		t.Errorf("%q", got)
	}
	l.wants(l.run("pull", "--env", "prod", "--template", path, "--out", "other"), 0, "y.conf written")
	l.write("y.conf.tmpl", "b")
	l.wants(l.run("pull", "--env", "prod", "--template", path, "--out", "other", "--dir", "else"), 1, "y.conf refused", "or made it with another --dir")
	l.Must(os.Chmod(path, 0o666))
	l.wants(l.run("pull", "--env", "prod", "--template", path, "--out", "made"), 1, "others may write it")
}

// Neither keys nor what is rendered get into git.
func TestPullRefusesGit(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	path := l.write("site/.env.tmpl", "a")
	git := func(args ...string) {
		t.Helper()
		if got := l.Do(l.atHome(l.Program("git", append([]string{"-C", l.home + "/site"}, args...)...))); got.Code != 0 {
			t.Fatal(got)
		}
	}
	git("init", "-q")
	args := []string{"pull", "--env", "prod", "--template", path}
	l.wants(l.run(args...), 1, "which does not ignore it: what is rendered may hold secrets", "add /.env to "+l.home+"/site/.gitignore")
	if _, err := os.Lstat(l.home + "/certs"); err == nil {
		t.Error("something was written before that was refused")
	}
	l.write("site/.gitignore", "/.env\n")
	l.wants(l.run(args...), 0, ".env written")
	git("add", "-f", ".env")
	l.wants(l.run(args...), 1, "git tracks .env in "+l.home+"/site")
	// Git tells the hooks of a repository by variables which it is: another one than this.
	git("init", "-q", l.home+"/other")
	cmd := l.atHome(l.Program(l.Binary, args...))
	cmd.Env = append(cmd.Env, "GIT_DIR="+l.home+"/other/.git")
	l.wants(l.Do(cmd), 1, "git tracks .env in "+l.home+"/site")
}

// Where the store is has to be clear, and the file of environments one's own.
func TestEnvironments(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	file := filepath.Join(l.home, ".config/anycert/environments.yaml")
	l.wants(l.run("pull", "--env", "test"), 1, `has no environment "test": there is prod, staging`)
	l.wants(l.run("pull", "--env", "prod", "--config", "x.yaml"), 1, "--env and --config both say where the store is")
	for _, flag := range []string{"--env", "--dir", "--out"} { // "$VARIABLE" that is not set
		l.wants(l.run("pull", flag, ""), 1, flag+" is empty: say which, or leave it out")
	}
	l.wants(l.run("__complete", "pull", "--env", ""), 0, "prod staging")
	l.Must(os.Chmod(file, 0o666))
	l.wants(l.run("pull", "--env", "prod"), 1, "others may write it (mode 0666)")
	l.Must(os.Chmod(file, 0o600))
	l.write(".config/anycert/environments.yaml", "version: 1\nenvironments:\n  - {nam: prod}\n")
	l.wants(l.run("pull", "--env", "prod"), 1, file+":3:6: environments[0]: unknown field \"nam\"")
	l.Must(os.Remove(file))
	l.wants(l.run("pull", "--env", "prod"), 1, file, "write one (docs/laptop.md)")
}
