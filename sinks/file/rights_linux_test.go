package file

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/sinks/sinktest"
)

const (
	anycertUser = 65533
	otherUser   = 65534
	theirGroup  = 65532
)

// passAs makes a pass in a process that a command is changed to be.
func passAs(t *testing.T, config Config, pair sinktest.Pair, change func(*exec.Cmd)) (string, error) {
	t.Helper()
	o := order{Config: config, Dir: readable(t), Time: pair.Entry.Time}
	must(t, os.WriteFile(filepath.Join(o.Dir, "chain"), pair.Bundle.FullChainPEM(), 0o644))
	must(t, os.WriteFile(filepath.Join(o.Dir, "key"), []byte(pair.Bundle.KeyPEM().Reveal()), 0o644))
	text, err := json.Marshal(o)
	must(t, err)
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe") // where go test built it, the user may not look
	cmd.Env = append(os.Environ(), childVariable+"="+string(text))
	cmd.Dir = "/"
	change(cmd)
	output, err := cmd.CombinedOutput()
	return string(output), err
}

// asAnycert is the user anycert, with groups and no capability.
func asAnycert(groups ...uint32) func(*exec.Cmd) {
	return func(cmd *exec.Cmd) {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: anycertUser, Gid: anycertUser, Groups: groups}}
	}
}

// asRoot is root with these capabilities and no other.
func asRoot(t *testing.T, capabilities []string) func(*exec.Cmd) {
	t.Helper()
	program, err := os.Executable()
	must(t, err)
	setpriv, err := exec.LookPath("setpriv")
	must(t, err)
	set := "-all"
	for _, name := range capabilities {
		set += ",+" + strings.ToLower(strings.TrimPrefix(name, "CAP_"))
	}
	return func(cmd *exec.Cmd) {
		cmd.Path, cmd.Args = setpriv, []string{"setpriv", "--bounding-set", set, "--inh-caps", "-all", program}
	}
}

// readable is a new directory that every user may enter.
func readable(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for parent := dir; parent != os.TempDir(); parent = filepath.Dir(parent) {
		must(t, os.Chmod(parent, 0o755))
	}
	return dir
}

// prepared is the directory as Grants says it is to be made, for a user.
func prepared(t *testing.T, user int) string {
	t.Helper()
	dir := filepath.Join(readable(t), "certificates")
	must(t, os.Mkdir(dir, 0o755))
	must(t, os.Chown(dir, user, user))
	return dir
}

func grants(t *testing.T, config Config, role anycert.Role) string {
	t.Helper()
	text, err := config.Grants(anycert.Grantee{Role: role, Owner: "hub", Sink: "nginx"})
	must(t, err)
	return string(text)
}

// With the capabilities that Grants prints for files of another user, root makes and
// replaces them; without any one of them, it fails and says where.
func TestCapabilitiesForAnotherOwner(t *testing.T) {
	pairs := sinktest.Issue(t, "example", []string{"example.com"}, 1, 2, 3)
	config := Config{Dir: "/etc/ssl/anycert", Owner: strconv.Itoa(otherUser)}
	text := grants(t, config, anycert.Hub)
	_, line, found := strings.Cut(text, "\nCapabilityBoundingSet=")
	if !found {
		t.Fatalf("no capabilities are named:\n%s", text)
	}
	line, _, _ = strings.Cut(line, "\n")
	all := strings.Fields(line)
	run := func(capabilities []string) (string, error) {
		config.Dir = prepared(t, 0)
		for _, pair := range pairs {
			if output, err := passAs(t, config, pair, asRoot(t, capabilities)); err != nil {
				return output, err
			}
		}
		return "", nil
	}
	if output, err := run(all); err != nil {
		t.Fatalf("with %v: %v\n%s", all, err, output)
	}
	for i := range all {
		less := append(append([]string{}, all[:i]...), all[i+1:]...)
		if output, err := run(less); err == nil || !strings.Contains(output, "permission denied") || !strings.Contains(output, config.Dir) {
			t.Errorf("without %s: %v\n%s", all[i], err, output)
		}
	}
}

func TestNoCapabilityForAGroup(t *testing.T) {
	pairs := sinktest.Issue(t, "example", []string{"example.com"}, 1, 2, 3)
	config := Config{Dir: prepared(t, anycertUser), Group: strconv.Itoa(theirGroup), Mode: 0o640}
	if text := grants(t, config, anycert.Follower); strings.Contains(text, "CAP_") || !strings.Contains(text, "usermod --append --groups 65532 anycert\n") {
		t.Errorf("%s", text)
	}
	for _, pair := range pairs {
		if output, err := passAs(t, config, pair, asAnycert(theirGroup)); err != nil {
			t.Fatalf("%v\n%s", err, output)
		}
	}
	config.Dir = prepared(t, anycertUser)
	if output, err := passAs(t, config, pairs[0], asAnycert()); err == nil || !strings.Contains(output, "permission denied") {
		t.Errorf("without the group: %v\n%s", err, output)
	}
}

func TestNothingForItsOwnFiles(t *testing.T) {
	config := Config{Dir: prepared(t, anycertUser), Reload: []string{"systemctl", "reload", "nginx"}}
	text := grants(t, config, anycert.Follower)
	if !strings.Contains(text, "install -d -o anycert -g anycert -m 0755 "+config.Dir+"\n") || !strings.Contains(text, "runs: systemctl reload nginx\n") || strings.Contains(text, "CAP_") {
		t.Errorf("%s", text)
	}
	config.Reload = nil
	for _, pair := range sinktest.Issue(t, "example", []string{"example.com"}, 1, 2, 3) {
		if output, err := passAs(t, config, pair, asAnycert()); err != nil {
			t.Fatalf("%v\n%s", err, output)
		}
	}
	if text := grants(t, config, anycert.Laptop); text != "" {
		t.Errorf("a laptop is given %q", text)
	}
	if text := grants(t, config, anycert.Auditor); !strings.HasPrefix(text, "# Reading "+config.Dir) {
		t.Errorf("%s", text)
	}
}
