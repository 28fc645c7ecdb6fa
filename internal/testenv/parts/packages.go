package parts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// packages maps each Debian package that the tests use to a file it brings.
var packages = map[string]string{
	"bind9":                   "/usr/sbin/named",
	"bind9-dnsutils":          "/usr/bin/nsupdate",
	"buildah":                 "/usr/bin/buildah",
	"ca-certificates":         "/usr/sbin/update-ca-certificates",
	"chromium":                "/usr/bin/chromium",
	"curl":                    "/usr/bin/curl",
	"dbus-daemon":             "/usr/bin/dbus-daemon",
	"fonts-inter":             "/usr/share/fonts/opentype/inter/Inter-Regular.otf",
	"haproxy":                 "/usr/sbin/haproxy",
	"jq":                      "/usr/bin/jq",
	"knot":                    "/usr/sbin/knotd",
	"nginx-light":             "/usr/sbin/nginx",
	"openssl":                 "/usr/bin/openssl",
	"polkitd":                 "/usr/bin/pkcheck",
	"prometheus-alertmanager": "/usr/bin/prometheus-alertmanager",
	"prometheus":              "/usr/bin/promtool",
	"strace":                  "/usr/bin/strace",
	"systemd":                 "/usr/bin/systemd-analyze",
}

// policyFile is where Debian asks, before a package starts its service,
// whether it may (invoke-rc.d(8)).
const policyFile = "/usr/sbin/policy-rc.d"

// InstallPackages installs the Debian packages that the tests use and that are
// missing, without starting a service. It needs root if anything is missing.
func InstallPackages(ctx context.Context, out io.Writer) error {
	var missing []string
	for name, file := range packages {
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	if os.Geteuid() != 0 {
		return fmt.Errorf("the tests need the Debian packages %v: run `make packages` as root", missing)
	}
	fmt.Fprintf(out, "rig: installing the Debian packages %v\n", missing)
	restore, err := forbidServices()
	if err != nil {
		return err
	}
	defer restore()
	if err := apt(ctx, out, "update", "-q"); err != nil {
		return err
	}
	return apt(ctx, out, append([]string{"install", "-q", "-y", "--no-install-recommends"}, missing...)...)
}

// forbidServices keeps packages from starting what they bring, unless the
// machine already has a policy of its own.
func forbidServices() (restore func(), err error) {
	file, err := os.OpenFile(policyFile, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return func() {}, nil
	}
	if err != nil {
		return nil, err
	}
	restore = func() { os.Remove(policyFile) }
	_, err = file.WriteString("#!/bin/sh\nexit 101\n")
	if err := errors.Join(err, file.Close()); err != nil {
		restore()
		return nil, err
	}
	return restore, nil
}

func apt(ctx context.Context, out io.Writer, args ...string) error {
	cmd := exec.CommandContext(ctx, "apt-get", args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("apt-get %s: %w", args[0], err)
	}
	return nil
}

// ErrNotInstalled says that a program of a Debian package is missing.
var ErrNotInstalled = errors.New("not installed: run `make packages` as root (on Debian)")

// Program returns the path of a program that a Debian package brings, such as
// named, or ErrNotInstalled. Many are where only root's PATH leads.
func Program(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/local/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is %w", name, ErrNotInstalled)
}
