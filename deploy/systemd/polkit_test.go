package systemd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/anycert/anycert/internal/testenv/process"
)

// authority is a real polkitd on a bus of its own, on a machine that has the user of
// anycert.sysusers.conf and the rule of anycert-follower.rules.
type authority struct {
	bus string // address
	uid int    // of the user
}

func startAuthority(t *testing.T) *authority {
	t.Helper()
	dir := t.TempDir()
	machine := newMachine(t, dir)
	a := &authority{bus: "unix:path=" + filepath.Join(dir, "bus"), uid: userID(t, machine, "anycert")}
	config := write(t, filepath.Join(dir, "bus.conf"), `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>`+a.bus+`</listen>
  <auth>EXTERNAL</auth>
  <policy context="default"><allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/><allow user="*"/></policy>
</busconfig>
`)
	bus := child(t, process.Spec{Name: "dbus-daemon", Path: "dbus-daemon", Args: []string{"--nofork", "--nopidfile", "--config-file=" + config}, Dir: dir})
	must(t, bus.WaitUntil(t.Context(), "listens", func(context.Context) error {
		_, err := os.Stat(filepath.Join(dir, "bus"))
		return err
	}))
	const inside = `mount --make-rprivate /
for name in passwd group polkit-1/rules.d; do mount --bind "$0/$name" "/etc/$name"; done
exec /usr/lib/polkit-1/polkitd --no-debug`
	polkitd := child(t, process.Spec{
		Name: "polkitd", Path: "unshare", Args: []string{"--mount", "sh", "-ec", inside, filepath.Join(machine, "etc")}, Dir: dir,
		Env: []string{"DBUS_SYSTEM_BUS_ADDRESS=" + a.bus},
	})
	must(t, polkitd.WaitUntil(t.Context(), "answers", func(ctx context.Context) error {
		_, err := a.allows(ctx, os.Getpid(), 0, "nginx.service", "reload")
		return err
	}))
	return a
}

// newMachine makes the files of /etc that decide who is who and who may what.
func newMachine(t *testing.T, dir string) string {
	t.Helper()
	machine := filepath.Join(dir, "machine")
	rules := filepath.Join(machine, "etc", "polkit-1", "rules.d")
	must(t, os.MkdirAll(rules, 0o755))
	for _, name := range []string{"passwd", "group"} {
		must(t, os.WriteFile(filepath.Join(machine, "etc", name), []byte(read(t, "/etc/"+name)), 0o644))
	}
	must(t, os.WriteFile(filepath.Join(rules, "60-anycert-follower.rules"), []byte(read(t, "anycert-follower.rules")), 0o644))
	conf, err := filepath.Abs("anycert.sysusers.conf")
	must(t, err)
	output(t, exec.CommandContext(t.Context(), "systemd-sysusers", "--root="+machine, conf))
	for at := rules; at != filepath.Dir(dir); at = filepath.Dir(at) {
		must(t, os.Chmod(at, 0o755)) // polkitd reads them as a user of its own
	}
	must(t, os.Chmod(filepath.Dir(dir), 0o755))
	return machine
}

func userID(t *testing.T, machine, name string) int {
	t.Helper()
	for line := range strings.Lines(read(t, filepath.Join(machine, "etc", "passwd"))) {
		if fields := strings.Split(line, ":"); fields[0] == name {
			uid, err := strconv.Atoi(fields[2])
			must(t, err)
			return uid
		}
	}
	t.Fatalf("systemd-sysusers made no user %s", name)
	return 0
}

// allows asks polkit as systemd does when a process of a user wants to do something
// to a unit.
func (a *authority) allows(ctx context.Context, pid, uid int, unit, verb string) (bool, error) {
	start, err := startTime(pid)
	if err != nil {
		return false, err
	}
	cmd := exec.CommandContext(ctx, "pkcheck", "--action-id", "org.freedesktop.systemd1.manage-units",
		"--process", fmt.Sprintf("%d,%s,%d", pid, start, uid), "--detail", "unit", unit, "--detail", "verb", verb)
	cmd.Env = append(os.Environ(), "DBUS_SYSTEM_BUS_ADDRESS="+a.bus)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return true, nil
	case errors.As(err, &exit) && (exit.ExitCode() == 1 || exit.ExitCode() == 2) && strings.Contains(string(out), "Not authorized"),
		errors.As(err, &exit) && strings.Contains(string(out), "Authorization requires authentication"):
		return false, nil
	}
	return false, fmt.Errorf("%s: %w: %s", cmd, err, out)
}

// startTime is field 22 of proc(5)'s stat: with it a process id means one process.
func startTime(pid int) (string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	return strings.Fields(rest)[19], nil
}

// child starts a program that ends with the test.
func child(t *testing.T, spec process.Spec) *process.Process {
	t.Helper()
	path, err := exec.LookPath(spec.Path)
	must(t, err)
	spec.Path = path
	started, err := process.Start(spec)
	must(t, err)
	t.Cleanup(started.Stop)
	return started
}

// The rule gives the follower's user one verb on one unit, and nobody else anything.
func TestPolkitRule(t *testing.T) {
	a := startAuthority(t)
	nobody := 65534
	tests := []struct {
		uid        int
		unit, verb string
		want       bool
	}{
		{a.uid, "nginx.service", "reload", true},
		{a.uid, "nginx.service", "restart", false},
		{a.uid, "nginx.service", "stop", false},
		{a.uid, "nginx.service", "reload-or-restart", false},
		{a.uid, "ssh.service", "reload", false},
		{a.uid, "nginx.service.d", "reload", false},
		{nobody, "nginx.service", "reload", false},
	}
	for _, test := range tests {
		got, err := a.allows(t.Context(), os.Getpid(), test.uid, test.unit, test.verb)
		if err != nil || got != test.want {
			t.Errorf("user %d, %s %s: %t (%v), want %t", test.uid, test.verb, test.unit, got, err, test.want)
		}
	}
}
