//go:build linux

package deploy

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// confined looks at the process from outside.
func confined(t *testing.T, r *running) {
	t.Helper()
	status := procStatus(t, r.PID())
	for field, want := range map[string]string{
		"Uid": "65532 65532 65532 65532", "Gid": "65532 65532 65532 65532", "Groups": "65532",
		"CapPrm": "0000000000000000", "CapEff": "0000000000000000", "CapBnd": "0000000000000000", "NoNewPrivs": "1",
	} {
		if got := status[field]; got != want {
			t.Errorf("the daemon has %s %q, want %q", field, got, want)
		}
	}
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/root/etc/anycert/test", r.PID()), nil, 0o600); err == nil {
		t.Error("its root can be written")
	}
}

// endsWell ends the container as a kubelet does.
func endsWell(t *testing.T, r *running, pod *corev1.Pod) {
	t.Helper()
	if err := r.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	grace := time.Duration(*pod.Spec.TerminationGracePeriodSeconds) * time.Second
	select {
	case <-r.Done():
	case <-time.After(grace):
		t.Fatalf("it does not end within %s", grace)
	}
	if code := r.ExitCode(); code != 0 {
		t.Errorf("it ends with exit code %d", code)
	}
}

// usage is what the process has needed so far.
func usage(t *testing.T, pid int) string {
	t.Helper()
	status := procStatus(t, pid)
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	return fmt.Sprintf("%s of memory, %s at most, and %s + %s hundredths of a second of CPU", status["VmRSS"], status["VmHWM"], fields[11], fields[12])
}

func procStatus(t *testing.T, pid int) map[string]string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	status := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		status[name] = strings.Join(strings.Fields(value), " ")
	}
	return status
}
