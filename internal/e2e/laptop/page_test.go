package laptop

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/certs"
)

// block is a fenced block of a page.
var block = regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```$")

// docs/laptop.md, done by somebody who copies it line by line.
func TestPage(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	l.put("anycert-staging", "example", testenv.IssueFrom(t, l.Strangers, certs.Options{Names: []string{"example.com"}}))
	l.Must(l.Vault.WritePolicy(t.Context(), "laptop", policy+strings.ReplaceAll(policy, "staging", "anycert-staging")))
	bin := t.TempDir()
	l.Must(os.Symlink(l.Binary, filepath.Join(bin, "anycert")))
	text, err := os.ReadFile(filepath.Join(l.Checkout, "docs", "laptop.md"))
	l.Must(err)
	var ran, said []string
	for _, found := range block.FindAllStringSubmatch(string(text), -1) {
		switch kind, body := found[1], found[2]; kind {
		case "yaml":
			l.write(".config/anycert/environments.yaml", strings.ReplaceAll(body, "https://vault.example.com:8200", l.Vault.Addr))
			l.write("site/nginx.conf.tmpl", nginx) // shown further down
		case "nginx":
			first, rest, _ := strings.Cut(body, "\n")
			l.write(strings.TrimPrefix(first, "# "), rest)
		case "sh":
			cmd := l.atHome(l.Program("sh", "-ec", body))
			cmd.Env = append(cmd.Env, "PATH="+bin+":"+os.Getenv("PATH"))
			got := l.Do(cmd)
			l.said.WriteString(got.Stdout + got.Stderr)
			if got.Code != 0 {
				t.Fatalf("docs/laptop.md: %s\n%v", body, got)
			}
			ran, said = append(ran, body), append(said, strings.Join(strings.Fields(got.Stdout), " "))
		}
	}
	if len(ran) != 4 {
		t.Fatalf("the page has other commands than this test knows: %q", ran)
	}
	for i, want := range []string{
		"example written " + l.home + "/certs/prod/example version 1, expires ",
		"",
		".env unchanged " + l.home + "/site/.env",
		"example version version 1, expires ",
	} {
		if !strings.Contains(said[i], want) {
			t.Errorf("%s\nsaid %q, want %q", ran[i], said[i], want)
		}
	}
	if got := l.read("site/.env"); got != "DATABASE=postgres://site:"+canary+"@db/site\n" {
		t.Errorf(".env is %q", got)
	}
	if got := l.read("site/nginx.conf"); !strings.Contains(got, "server_name example.com") || !strings.Contains(got, l.home+"/certs/prod/example/privkey.pem;") {
		t.Errorf("nginx.conf is %q", got)
	}
}
