package file

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/anycert/anycert"
)

// Defaults of a Config.
const (
	DefaultMode          Mode = 0o600
	DefaultReloadTimeout      = 30 * time.Second
)

// maxReloadTimeout leaves a pass the time to tell that a reload did not end.
const maxReloadTimeout = 90 * time.Second

// Config is the configuration of a sink of type "file": a directory on this
// machine, and the server that is to read it anew. A Config of nothing but Dir is
// what `anycert pull` uses.
type Config struct {
	// Dir is where the certificates go: each is a directory below it, under its name.
	Dir string `yaml:"dir"`
	// Owner and Group of the files, by name or number. Left out: those of DIR/.anycert.
	Owner string `yaml:"owner"`
	Group string `yaml:"group"`
	// Mode of the files: 0600 (the default), 0640, 0440 or 0400.
	Mode Mode `yaml:"mode"`
	// Keystore adds a keystore.p12.
	Keystore *Keystore `yaml:"keystore"`
	// Templates are files to render beside the certificates, such as a server's
	// configuration: see the sink's page.
	Templates []Template `yaml:"templates"`
	// Reload is run after a change: a command and its arguments, without a shell.
	Reload []string `yaml:"reload"`
	// ReloadTimeout is how long it may take. 30s is the default.
	ReloadTimeout time.Duration `yaml:"reload_timeout"`
}

// Keystore asks for a PKCS#12 file (RFC 7292) beside the PEM files.
type Keystore struct {
	// Password encrypts it.
	Password anycert.Reference `yaml:"password"`
}

var _ anycert.SinkConfig = (*Config)(nil)

// Check lists every mistake. It opens nothing.
func (c *Config) Check() []anycert.Problem {
	var problems []anycert.Problem
	add := func(field, format string, args ...any) {
		problems = append(problems, anycert.Problem{Field: field, Text: fmt.Sprintf(format, args...)})
	}
	if c.Dir == "" {
		add("dir", "the directory is missing: say where the certificates go, for example /etc/ssl/anycert")
	} else if strings.ContainsRune(c.Dir, 0) {
		add("dir", "the directory's name holds a zero byte")
	}
	if err := c.Mode.check(); err != nil {
		add("mode", "%v", err)
	}
	if c.Keystore != nil && c.Keystore.Password.IsZero() {
		add("keystore.password", "the password is missing: write {env: NAME}, {file: PATH} or {vault: MOUNT/PATH#FIELD}")
	}
	c.checkTemplates(add)
	switch {
	case c.Reload == nil:
	case len(c.Reload) == 0 || c.Reload[0] == "":
		add("reload", "the command is missing: write a list, for example [nginx, -s, reload]")
	case strings.Contains(c.Reload[0], "/") && !filepath.IsAbs(c.Reload[0]):
		add("reload", "%q depends on where anycert was started: write the full path, or the name alone", c.Reload[0])
	}
	switch {
	case c.ReloadTimeout < 0:
		add("reload_timeout", "%s is no time to wait: use for example 30s", c.ReloadTimeout)
	case c.ReloadTimeout > maxReloadTimeout:
		add("reload_timeout", "%s is longer than a pass waits: %s is the most", c.ReloadTimeout, maxReloadTimeout)
	case c.ReloadTimeout > 0 && len(c.Reload) == 0:
		add("reload_timeout", "there is no reload to wait for: add reload, or take this out")
	}
	return problems
}

// Open makes the sink. It creates nothing: the directory appears with the first
// Push.
func (c *Config) Open(env anycert.SinkEnv) (anycert.Sink, error) {
	if problems := c.Check(); len(problems) > 0 {
		return nil, fmt.Errorf("%s: %s", problems[0].Field, problems[0].Text)
	}
	if err := errors.Join(anycert.CheckName(env.Name), anycert.CheckName(env.Owner)); err != nil {
		return nil, fmt.Errorf("name and owner of the sink: %w", err)
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("directory %s: %w", c.Dir, err)
	}
	s := &Sink{
		dir:     dir,
		name:    env.Name,
		owner:   env.Owner,
		mode:    fs.FileMode(cmp.Or(c.Mode, DefaultMode)),
		reload:  c.Reload,
		timeout: cmp.Or(c.ReloadTimeout, DefaultReloadTimeout),
		step:    func(string) error { return nil },
	}
	if s.uid, err = lookup("owner", c.Owner, userID); err != nil {
		return nil, err
	}
	if s.gid, err = lookup("group", c.Group, groupID); err != nil {
		return nil, err
	}
	if c.Keystore != nil {
		s.password = env.Credential(c.Keystore.Password)
	}
	s.templates = c.openTemplates(env)
	return s, nil
}

// lookup finds the number of a user or group; -1 when name is empty.
func lookup(what, name string, find func(string) (string, error)) (int, error) {
	if name == "" {
		return -1, nil
	}
	if id, err := strconv.Atoi(name); err == nil && id >= 0 {
		return id, nil
	}
	text, err := find(name)
	if err != nil {
		return 0, fmt.Errorf("%s: %w: create it on this machine, or use another", what, err)
	}
	return strconv.Atoi(text)
}

func userID(name string) (string, error) {
	found, err := user.Lookup(name)
	if err != nil {
		return "", err
	}
	return found.Uid, nil
}

func groupID(name string) (string, error) {
	found, err := user.LookupGroup(name)
	if err != nil {
		return "", err
	}
	return found.Gid, nil
}

// Mode is the permission bits of files, written in octal: 0640.
type Mode fs.FileMode

// UnmarshalYAML reads the octal number that people write: 640, 0640, 0o640, "0640".
func (m *Mode) UnmarshalYAML(text []byte) error {
	word := strings.Trim(strings.TrimSpace(string(text)), `"'`)
	bits, err := strconv.ParseUint(strings.TrimPrefix(word, "0o"), 8, 32)
	if err != nil {
		return fmt.Errorf("%q is not a file mode: write it in octal, for example 0640", word)
	}
	*m = Mode(bits)
	return m.check()
}

// MarshalYAML writes what UnmarshalYAML reads.
func (m Mode) MarshalYAML() ([]byte, error) { return []byte(m.String()), nil }

// String is the octal number.
func (m Mode) String() string { return fmt.Sprintf("%04o", uint32(m)) }

func (m Mode) check() error {
	switch {
	case m == 0: // left out
		return nil
	case m&0o400 == 0:
		return fmt.Errorf("with mode %s not even the owner can read the files: use 0600 or 0640", m)
	case m&0o007 != 0:
		return fmt.Errorf("mode %s shows the private key to everybody on the machine: use 0640 and a group", m)
	case m&^0o640 != 0:
		return fmt.Errorf("mode %s allows more than reading: use 0600 or 0640", m)
	}
	return nil
}
