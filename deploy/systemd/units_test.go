package systemd

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/anycert/anycert/internal/config"
)

const installed = "/usr/local/bin/anycert"

var units = []string{"anycert-hub.service", "anycert-follower.service"}

// systemd knows every setting in the units, and leaves little to a service that has
// them: 10 is everything, and a network of its own is what neither can do without.
func TestSystemdAccepts(t *testing.T) {
	for _, name := range units {
		path := write(t, filepath.Join(t.TempDir(), name), replace(t, read(t, name), installed, binary))
		if said := output(t, exec.CommandContext(t.Context(), "systemd-analyze", "verify", "--man=no", path)); said != "" {
			t.Errorf("systemd-analyze verify %s:\n%s", name, said)
		}
		const most = "15" // 1.5 of 10
		output(t, exec.CommandContext(t.Context(), "systemd-analyze", "security", "--offline=yes", "--threshold="+most, path))
	}
}

// The examples are configurations without mistakes, and fit the units.
func TestExamples(t *testing.T) {
	for _, name := range []string{"hub", "follower"} {
		text, unit := read(t, name+".yaml"), readUnit(t, "anycert-"+name+".service")
		loaded, err := config.Load(name + ".yaml")
		must(t, err)
		if follower := len(loaded.Issuers) == 0; follower != (name == "follower") {
			t.Errorf("%s.yaml has %d issuers", name, len(loaded.Issuers))
		}
		for _, credential := range unit["LoadCredential"] {
			id, _, _ := strings.Cut(credential, ":")
			if path := "/run/credentials/anycert-" + name + ".service/" + id; !strings.Contains(text, "{file: "+path+"}") {
				t.Errorf("%s.yaml does not use %s, which the unit loads", name, path)
			}
		}
		if !slices.Equal(unit["ExecStart"], []string{installed + " run --config /etc/anycert/config.yaml"}) {
			t.Errorf("%s starts %q", name, unit["ExecStart"])
		}
	}
}

// The follower's unit, its user, its directory, its configuration and the rule for
// polkit speak of the same.
func TestFollowerFits(t *testing.T) {
	unit, text := readUnit(t, "anycert-follower.service"), read(t, "follower.yaml")
	user, dir := unit["User"][0], unit["ReadWritePaths"][0]
	for file, want := range map[string]string{
		"anycert.sysusers.conf":  "\nu " + user + " -",
		"anycert.tmpfiles.conf":  "\nd " + dir + " 0755 " + user + " " + user + " -",
		"anycert-follower.rules": `subject.user === "` + user + `"`,
	} {
		if !strings.Contains(read(t, file), want) {
			t.Errorf("%s does not say %q", file, want)
		}
	}
	if !strings.Contains(text, "dir: "+dir+"\n") {
		t.Errorf("follower.yaml does not write to %s", dir)
	}
}
