// Package auditlog reads the audit logs of the rig's servers while they are
// written: files with a line of JSON for each event.
package auditlog

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
)

// End returns where the whole lines of a log end now, for Since. One that is still being
// written comes after that: its request was not answered yet.
func End(path string) (int64, error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, fmt.Errorf("reading an audit log: %w", err)
	}
	defer file.Close()
	end, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, fmt.Errorf("reading an audit log: %w", err)
	}
	for tail := make([]byte, 4096); end > 0; {
		tail = tail[:min(end, int64(cap(tail)))]
		end -= int64(len(tail))
		if _, err := file.ReadAt(tail, end); err != nil {
			return 0, fmt.Errorf("reading an audit log: %w", err)
		}
		if last := bytes.LastIndexByte(tail, '\n'); last >= 0 {
			return end + int64(last) + 1, nil
		}
	}
	return 0, nil
}

// Since returns what parse makes of the whole lines after an end, in order; 0 is
// the start of the log. Lines that do not count are left out.
func Since[R any](path string, end int64, parse func(line []byte) (r R, counts bool, err error)) ([]R, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading an audit log: %w", err)
	}
	defer file.Close()
	if _, err := file.Seek(end, io.SeekStart); err != nil {
		return nil, fmt.Errorf("reading an audit log: %w", err)
	}
	var all []R
	for lines := bufio.NewReader(file); ; {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return all, nil // what is left of a line is still being written
		}
		if err != nil {
			return nil, fmt.Errorf("reading an audit log: %w", err)
		}
		r, counts, err := parse(line)
		if err != nil {
			return nil, fmt.Errorf("reading the audit log %s: %w", path, err)
		}
		if counts {
			all = append(all, r)
		}
	}
}

// Filter returns those that are kept.
func Filter[R any](all []R, keep func(R) bool) []R {
	var kept []R
	for _, r := range all {
		if keep(r) {
			kept = append(kept, r)
		}
	}
	return kept
}
