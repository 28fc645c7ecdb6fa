package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/config"
)

const environments = `version: 1
environments:
  - name: prod
    store:
      vault: {address: "https://vault.example.com:8200", prefix: anycert, auth: {method: token}}
    certificates: [example]
    dir: ~/certs/prod
    templates: [~/site/nginx.conf.tmpl, /etc/site/.env.tmpl]
  - name: staging
    store: {vault: {address: "https://vault.example.com:8200", prefix: anycert-staging}}
`

func environmentsFile(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	t.Setenv("HOME", "/home/dev")
	path := filepath.Join(t.TempDir(), "environments.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask
		t.Fatal(err)
	}
	return path
}

func TestLoadEnvironments(t *testing.T) {
	file, err := config.LoadEnvironments(environmentsFile(t, environments, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	prod, err := file.Find("prod")
	if err != nil || prod.Dir != "/home/dev/certs/prod" || strings.Join(prod.Templates, " ") != "/home/dev/site/nginx.conf.tmpl /etc/site/.env.tmpl" {
		t.Errorf("%+v, %v", prod, err)
	}
	if _, err := file.Find("test"); err == nil || !strings.Contains(err.Error(), `no environment "test": there is prod, staging`) {
		t.Error(err)
	}
	at, err := prod.Store.At("other")
	if err != nil || at.Vault.Prefix != "other" || prod.Store.Vault.Prefix != "anycert" {
		t.Errorf("%+v, %v", at, err)
	}
	if _, err := prod.Store.At("../x"); err == nil {
		t.Error("a prefix that leads out was taken")
	}
}

func TestLoadEnvironmentsTellsEveryMistake(t *testing.T) {
	path := environmentsFile(t, `version: 1
environments:
  - name: prod
    store: {vault: {address: "http://vault.example.com"}}
    dir: certs
    templates: [/a/nginx.conf]
  - name: prod
    certificates: ["../x"]
    owner: me
`, 0o600)
	_, err := config.LoadEnvironments(path)
	if err == nil {
		t.Fatal("no mistake was found")
	}
	for _, want := range []string{
		path + ":4:", "environments[0].store.vault.address",
		path + `:5:10: environments[0].dir: "certs" depends on where anycert is started`,
		"environments[0].templates[0]: a template's name ends in .tmpl",
		"environments[1].name: environments[0] has this name too",
		"environments[1].store: it is missing",
		"environments[1].certificates[0]",
		path + `:9:5: environments[1]: unknown field "owner"`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in:\n%v", want, err)
		}
	}
}

// Who can change the file can have a person's token sent to a Vault of his own.
func TestLoadEnvironmentsThatOthersMayWrite(t *testing.T) {
	if _, err := config.LoadEnvironments(environmentsFile(t, environments, 0o666)); !errors.Is(err, anycert.ErrRefused) {
		t.Error(err)
	}
}
