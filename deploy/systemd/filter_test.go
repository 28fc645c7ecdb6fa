package systemd

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/vaultserver"
)

// What the units forbid is not needed: of the system calls that a follower makes, the
// kernel refuses to it here those that the filters refuse, and it does its work all the
// same. Those that RestrictSUIDSGID= refuses are among them.
func TestSystemCallFilter(t *testing.T) {
	vault := testenv.Vault(t)
	pair := testenv.Issue(t, certs.Options{Names: []string{"example.com"}})
	_, err := vault.Client().KVv2("secret").Put(t.Context(), "anycert/certs/example",
		map[string]any{"tls.crt": string(pair.ChainPEM), "tls.key": string(pair.KeyPEM)})
	must(t, err)
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	syncUnder(t, vault, filepath.Join(dir, "free"), "strace", "-f", "-n", "-qq", "-o", log)
	made := systemCalls(t, log)
	made.staysWithin(t, readUnit(t, "anycert-hub.service")["RestrictAddressFamilies"][0])
	self, err := os.Executable()
	must(t, err)
	for _, name := range units {
		unit := readUnit(t, name)
		refused := made.without(allowed(t, unit["SystemCallFilter"]))
		t.Logf("%s refuses %q", name, refused)
		numbers := []string{unit["SystemCallErrorNumber"][0], strconv.Itoa(unix.SYS_OPENAT2)}
		for _, call := range refused {
			numbers = append(numbers, made[call].number)
		}
		syncUnder(t, vault, filepath.Join(dir, name), self, "refuse", strings.Join(numbers, ","))
	}
}

// syncUnder lets a program run `anycert sync`, which fills a new directory.
func syncUnder(t *testing.T, vault *vaultserver.Server, dir string, program ...string) {
	t.Helper()
	token := write(t, dir+".token", vault.RootToken)
	config := write(t, dir+".yaml", fmt.Sprintf(`version: 1
owner: web-1
store: {vault: {address: %q, auth: {token: {file: %s}}}}
certificates: [{name: example, domains: [example.com]}]
sinks:
  - {name: nginx, type: file, certificates: [example], config: {dir: %s, reload: ["true"]}}
`, vault.Addr, token, dir))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	args := slices.Concat(program[1:], []string{binary, "sync", "--config", config})
	if said := output(t, exec.CommandContext(ctx, program[0], args...)); !strings.Contains(said, "1 kept") {
		t.Errorf("%q ended with\n%s", program, said)
	}
}

// refuse runs a program to which the kernel answers some system calls with an error,
// as it does under systemd's filter (seccomp(2)). list is the error's name and the
// numbers of the calls. It returns only when that cannot be done.
func refuse(list string, args []string) int {
	words := strings.Split(list, ",")
	var answer syscall.Errno
	for number := range syscall.Errno(200) {
		if unix.ErrnoName(number) == words[0] {
			answer = number
		}
	}
	const load, equal, end = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_RET | unix.BPF_K
	filter := []unix.SockFilter{{Code: load}} // the call's number, the first field of seccomp_data
	for _, word := range words[1:] {
		number, err := strconv.ParseUint(word, 10, 32)
		if err != nil || answer == 0 {
			fmt.Fprintln(os.Stderr, "refuse:", list, err)
			return 1
		}
		filter = append(filter, unix.SockFilter{Code: equal, Jf: 1, K: uint32(number)},
			unix.SockFilter{Code: end, K: unix.SECCOMP_RET_ERRNO | uint32(answer)})
	}
	filter = append(filter, unix.SockFilter{Code: end, K: unix.SECCOMP_RET_ALLOW})
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	if err == nil {
		const all = unix.SECCOMP_FILTER_FLAG_TSYNC
		if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, all, uintptr(unsafe.Pointer(&program))); errno != 0 {
			err = errno
		}
	}
	if err == nil {
		err = unix.Exec(args[0], args, os.Environ())
	}
	fmt.Fprintln(os.Stderr, "refuse:", err)
	return 1
}
