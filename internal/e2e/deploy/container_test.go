//go:build linux

package deploy

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// containArgument makes the test's own binary become a container: see contain.
const containArgument = "contain"

// container is what a container runtime is told of one.
type container struct {
	Root   string            // folder of its files, which cannot be written
	Mounts map[string]string // folders below Root, and what is seen there; read-only as well
	UID    int
	GID    int
	Groups []int
	Args   []string // the program's path within Root, and its arguments
	Env    []string
}

// contain turns this process into the container that the file describes, as a runtime
// does under runAsUser, runAsGroup, fsGroup, readOnlyRootFilesystem, drop: [ALL] and
// allowPrivilegeEscalation: false. It returns only to say why it could not; it must be
// called by root.
func contain(file string) error {
	runtime.LockOSThread() // namespaces and capabilities are a thread's
	var c container
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &c); err != nil {
		return err
	}
	if err := c.enter(); err != nil {
		return fmt.Errorf("entering %s: %w", c.Root, err)
	}
	if err := c.drop(); err != nil {
		return fmt.Errorf("becoming user %d: %w", c.UID, err)
	}
	return syscall.Exec(c.Args[0], c.Args, c.Env)
}

// enter makes Root the root of a mount namespace of its own.
func (c container) enter() error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := bind(c.Root, c.Root); err != nil {
		return err
	}
	for at, from := range c.Mounts {
		if err := bind(from, filepath.Join(c.Root, at)); err != nil {
			return err
		}
	}
	if err := unix.Mount("/proc", filepath.Join(c.Root, "proc"), "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	if err := unix.Chroot(c.Root); err != nil {
		return err
	}
	return unix.Chdir("/")
}

// bind shows a folder elsewhere, read-only.
func bind(from, to string) error {
	if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mounting %s: %w", to, err)
	}
	if err := unix.Mount("", to, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV, ""); err != nil {
		return fmt.Errorf("making %s read-only: %w", to, err)
	}
	return nil
}

// drop gives up everything that root may do, for good.
func (c container) drop() error {
	for capability := uintptr(0); ; capability++ {
		err := unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0)
		if errors.Is(err, unix.EINVAL) {
			break // there are no more
		}
		if err != nil {
			return err
		}
	}
	if err := syscall.Setgroups(c.Groups); err != nil {
		return err
	}
	if err := syscall.Setgid(c.GID); err != nil {
		return err
	}
	if err := syscall.Setuid(c.UID); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil { // Setuid has cleared it
		return err
	}
	return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
}
