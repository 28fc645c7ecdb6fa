package systemd

import (
	"maps"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// calls are system calls by name, as strace(1) shows them.
type calls map[string]made

type made struct {
	number string
	lines  []string // the arguments, for each time
}

var call = regexp.MustCompile(`^\d+\s+\[\s*(\d+)\]\s+([a-z0-9_]+)\((.*)`)

func systemCalls(t *testing.T, log string) calls {
	t.Helper()
	found := calls{}
	for line := range strings.Lines(read(t, log)) {
		if parts := call.FindStringSubmatch(line); parts != nil {
			found[parts[2]] = made{parts[1], append(found[parts[2]].lines, parts[3])}
		}
	}
	if len(found) < 20 {
		t.Fatalf("strace saw %d system calls only", len(found))
	}
	return found
}

// staysWithin checks what a unit forbids beside system calls: other families of
// addresses, and memory that is written and executed.
func (c calls) staysWithin(t *testing.T, families string) {
	t.Helper()
	for _, line := range c["socket"].lines {
		if family, _, _ := strings.Cut(line, ","); !slices.Contains(strings.Fields(families), family) {
			t.Errorf("socket(%s: the unit allows %s", line, families)
		}
	}
	for _, line := range slices.Concat(c["mmap"].lines, c["mprotect"].lines, c["pkey_mprotect"].lines) {
		if strings.Contains(line, "PROT_WRITE|PROT_EXEC") {
			t.Errorf("memory that is written and executed: %s", line)
		}
	}
}

// without are those that a filter does not allow, sorted.
func (c calls) without(allowed map[string]bool) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(c)), func(name string) bool { return allowed[name] })
}

// allowed is what systemd makes of SystemCallFilter= lines: sets that are added, and
// with ~ taken away again (systemd.exec(5)).
func allowed(t *testing.T, filters []string) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	for _, filter := range append([]string{"@default"}, filters...) {
		sets, takes := strings.CutPrefix(filter, "~")
		for set := range strings.FieldsSeq(sets) {
			for _, name := range members(t, set) {
				all[name] = !takes
			}
		}
	}
	return all
}

// members are the system calls of a set, those of the sets within it too.
func members(t *testing.T, set string) []string {
	t.Helper()
	if !strings.HasPrefix(set, "@") {
		return []string{set}
	}
	var names []string
	for line := range strings.Lines(output(t, exec.CommandContext(t.Context(), "systemd-analyze", "syscall-filter", "--no-pager", set))) {
		if line = strings.TrimSpace(line); line != "" && line != set && !strings.HasPrefix(line, "#") {
			names = append(names, members(t, line)...)
		}
	}
	return names
}
