package file

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"github.com/anycert/anycert"
)

func TestConfigDecodes(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want Config
	}{
		"the design's": {"{dir: /etc/ssl/anycert, reload: [nginx, -s, reload]}", Config{Dir: "/etc/ssl/anycert", Reload: []string{"nginx", "-s", "reload"}}},
		"everything": {
			"{dir: /d, owner: root, group: ssl-cert, mode: 0640, keystore: {password: {env: P}}, reload: [x], reload_timeout: 5s}",
			Config{Dir: "/d", Owner: "root", Group: "ssl-cert", Mode: 0o640, Keystore: &Keystore{anycert.Reference{Env: "P"}}, Reload: []string{"x"}, ReloadTimeout: 5 * time.Second},
		},
		"mode without a zero": {"{dir: /d, mode: 640}", Config{Dir: "/d", Mode: 0o640}},
		"mode in quotes":      {`{dir: /d, mode: "0400"}`, Config{Dir: "/d", Mode: 0o400}},
		"mode as in Go":       {"{dir: /d, mode: 0o600}", Config{Dir: "/d", Mode: 0o600}},
	} {
		t.Run(name, func(t *testing.T) {
			var got Config
			must(t, yaml.UnmarshalWithOptions([]byte(test.text), &got, yaml.Strict()))
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if problems := got.Check(); len(problems) > 0 {
				t.Errorf("Check: %v", problems)
			}
		})
	}
	for _, text := range []string{"{mode: 0999}", "{mode: rw-r-----}", "{mode: 0644}", "{mode: -1}"} {
		var got Config
		if err := yaml.UnmarshalWithOptions([]byte(text), &got, yaml.Strict()); err == nil {
			t.Errorf("%s was accepted as %+v", text, got)
		}
	}
}

func TestConfigCheck(t *testing.T) {
	for name, test := range map[string]struct {
		config Config
		want   []string // fields
	}{
		"right":             {Config{Dir: "d"}, nil},
		"empty":             {Config{}, []string{"dir"}},
		"zero byte":         {Config{Dir: "a\x00b"}, []string{"dir"}},
		"for everybody":     {Config{Dir: "d", Mode: 0o644}, []string{"mode"}},
		"for the group":     {Config{Dir: "d", Mode: 0o660}, []string{"mode"}},
		"not for the owner": {Config{Dir: "d", Mode: 0o040}, []string{"mode"}},
		"setuid":            {Config{Dir: "d", Mode: 0o4600}, []string{"mode"}},
		"no password":       {Config{Dir: "d", Keystore: &Keystore{}}, []string{"keystore.password"}},
		"no command":        {Config{Dir: "d", Reload: []string{}}, []string{"reload"}},
		"empty command":     {Config{Dir: "d", Reload: []string{""}}, []string{"reload"}},
		"relative command":  {Config{Dir: "d", Reload: []string{"./reload"}}, []string{"reload"}},
		"nothing to limit":  {Config{Dir: "d", ReloadTimeout: time.Second}, []string{"reload_timeout"}},
		"negative limit":    {Config{Dir: "d", Reload: []string{"x"}, ReloadTimeout: -1}, []string{"reload_timeout"}},
		"too long a limit":  {Config{Dir: "d", Reload: []string{"x"}, ReloadTimeout: time.Hour}, []string{"reload_timeout"}},
		"all at once":       {Config{Mode: 0o777, Keystore: &Keystore{}, Reload: []string{}, ReloadTimeout: -1}, []string{"dir", "mode", "keystore.password", "reload", "reload_timeout"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, problem := range test.config.Check() {
				got = append(got, problem.Field)
				if problem.Text == "" || strings.HasSuffix(problem.Text, ".") {
					t.Errorf("%s: %q", problem.Field, problem.Text)
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("fields (-want +got):\n%s", diff)
			}
			_, err := test.config.Open(testEnv("example-prod"))
			if (err != nil) != (len(test.want) > 0) {
				t.Errorf("Open returned %v", err)
			}
		})
	}
}

func TestOpen(t *testing.T) {
	for name, test := range map[string]struct {
		config Config
		env    anycert.SinkEnv
		want   string
	}{
		"unknown user":  {Config{Dir: "d", Owner: "no-such-user"}, testEnv("example-prod"), "no-such-user"},
		"unknown group": {Config{Dir: "d", Group: "no-such-group"}, testEnv("example-prod"), "no-such-group"},
		"no owner":      {Config{Dir: "d"}, testEnv(""), "name"},
		"a bad name":    {Config{Dir: "d"}, anycert.SinkEnv{Name: "../x", Owner: "o"}, "../x"},
	} {
		if _, err := test.config.Open(test.env); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: Open returned %v", name, err)
		}
	}
}

// A directory is one place however it is written, and no name leads out of it.
func TestTargets(t *testing.T) {
	here, err := os.Getwd()
	must(t, err)
	for _, dir := range []string{"certs", "./certs", filepath.Join(here, "certs"), here + "/x/../certs/"} {
		s := open(t, Config{Dir: dir}, "example-prod", nil)
		got := targetOf(s, "example")
		want := anycert.Target{Key: "file://" + here + "/certs/example", Label: here + "/certs/example", Certificate: "example"}
		if got != want {
			t.Errorf("dir %s: the target is %+v, want %+v", dir, got, want)
		}
		for _, name := range []string{"..", ".anycert", "a/b", "", "A"} {
			if _, err := s.Targets(name, nil); err == nil {
				t.Errorf("the name %q has a target", name)
			}
		}
	}
	if exists("certs") {
		t.Error("asking for targets made the directory")
	}
}
