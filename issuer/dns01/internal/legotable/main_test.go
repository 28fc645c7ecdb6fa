package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestTableIsUpToDate compares the committed table with the lego that go.mod names.
func TestTableIsUpToDate(t *testing.T) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/go-acme/lego/v4").Output()
	if err != nil {
		t.Fatal(err)
	}
	want, err := table(filepath.Join(strings.TrimSpace(string(dir)), "providers", "dns"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../others_table.go")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Error("the table is out of date: run go generate -tags alldns ./issuer/dns01")
	}
}
