package systemd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/anycert/anycert/internal/testenv/nginxserver"
)

// manager stands in for systemd, which is asked by systemctl to reload nginx.service:
// it asks the real polkit whether the caller may, as the kernel tells who that is, and
// reloads the real nginx.
type manager struct {
	authority *authority
	socket    string

	mu    sync.Mutex
	nginx *nginxserver.Server // nil: the unit is not active
}

func startManager(t *testing.T, a *authority) *manager {
	t.Helper()
	dir := t.TempDir()
	m := &manager{authority: a, socket: filepath.Join(dir, "manager")}
	listener, err := net.Listen("unix", m.socket)
	must(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	must(t, errors.Join(os.Chmod(m.socket, 0o666), os.Chmod(dir, 0o755), os.Chmod(filepath.Dir(dir), 0o755)))
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			m.answer(t.Context(), conn.(*net.UnixConn))
		}
	}()
	return m
}

// command makes a systemctl that asks this manager, alone in a folder.
func (m *manager) command(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	self, err := os.Executable()
	must(t, err)
	path := filepath.Join(dir, "systemctl")
	must(t, os.WriteFile(path, fmt.Appendf(nil, "#!/bin/sh\nexec %q systemctl %q \"$@\"\n", self, m.socket), 0o755))
	for at := filepath.Dir(self); at != "/tmp" && at != "/"; at = filepath.Dir(at) {
		must(t, os.Chmod(at, 0o755)) // another user runs it
	}
	return dir
}

// starts tells that the unit is active now.
func (m *manager) starts(nginx *nginxserver.Server) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.nginx = nginx
}

func (m *manager) answer(ctx context.Context, conn *net.UnixConn) {
	defer conn.Close()
	request, err := io.ReadAll(conn)
	if err == nil {
		err = m.reload(ctx, conn, strings.Fields(string(request)))
	}
	if err != nil {
		fmt.Fprint(conn, err)
	}
}

func (m *manager) reload(ctx context.Context, conn *net.UnixConn, args []string) error {
	if !slices.Equal(args, []string{"--no-ask-password", "reload", "nginx.service"}) {
		return fmt.Errorf("systemctl %q is not what the follower is to ask", args)
	}
	caller, err := peer(conn)
	if err != nil {
		return err
	}
	may, err := m.authority.allows(ctx, int(caller.Pid), int(caller.Uid), "nginx.service", "reload")
	if err != nil {
		return err
	}
	if !may {
		return errors.New("Failed to reload nginx.service: Interactive authentication required.")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.nginx == nil {
		return errors.New("nginx.service is not active, cannot reload.")
	}
	return m.nginx.Reload()
}

// peer is who is at the other end of a socket (unix(7), SO_PEERCRED).
func peer(conn *net.UnixConn) (*unix.Ucred, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var caller *unix.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) {
		caller, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	return caller, errors.Join(err, failed)
}

// systemctl is what runs as systemctl: it asks the manager, and ends with 1 when that
// says anything.
func systemctl(socket string, args []string) int {
	conn, err := net.Dial("unix", socket)
	if err == nil {
		_, err = fmt.Fprint(conn, strings.Join(args, " "))
	}
	if err == nil {
		err = conn.(*net.UnixConn).CloseWrite()
	}
	var said []byte
	if err == nil {
		said, err = io.ReadAll(conn)
	}
	if err != nil || len(said) > 0 {
		fmt.Fprintln(os.Stderr, string(said), err)
		return 1
	}
	return 0
}
