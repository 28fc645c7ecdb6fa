//go:build linux

package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/anycert/anycert/internal/testenv/kubeserver"
	"github.com/anycert/anycert/internal/testenv/parts"
	"github.com/anycert/anycert/internal/testenv/process"
	"github.com/anycert/anycert/internal/testenv/world"
)

// page is the README, with the shell that its commands are typed into.
type page struct {
	*world.World
	dir    string // working folder
	env    []string
	script string // all commands
}

var block = regexp.MustCompile("(?ms)^```(sh|yaml)\n(.*?)^```$")

func newPage(w *world.World) *page {
	w.T.Helper()
	p := &page{World: w, dir: w.T.TempDir()}
	text, err := os.ReadFile(filepath.Join(chart(w), "README.md"))
	w.Must(err)
	_, rest, _ := strings.Cut(string(text), "\n## Install\n")
	section, _, _ := strings.Cut(rest, "\n## ")
	for _, match := range block.FindAllStringSubmatch(section, -1) {
		if match[1] == "sh" {
			p.script += match[2]
			continue
		}
		head, _, _ := strings.Cut(match[2], "\n")
		p.file(strings.TrimPrefix(head, "# "), match[2])
	}
	w.Must(os.Symlink(filepath.Join(w.Checkout, "deploy"), filepath.Join(p.dir, "deploy")))
	p.adapt()
	p.enter()
	return p
}

func (p *page) file(name, text string) {
	p.T.Helper()
	p.Must(os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o600))
}

// adapt puts the addresses of the world where the page has examples, and Pebble with
// its DNS server where it has a public CA.
func (p *page) adapt() {
	p.T.Helper()
	p.change("config.yaml", func(config map[string]any) {
		config["store"].(map[string]any)["vault"].(map[string]any)["address"] = p.Vault.Addr
		config["sinks"].([]any)[1].(map[string]any)["config"].(map[string]any)["server"] = p.Clusters["europe"].Host
		issuer := config["issuers"].([]any)[0].(map[string]any)
		issuer["directory"], issuer["profile"] = p.ACME.URL, "default"
		issuer["ca_bundle"] = "/etc/anycert/trust/acme/ca.crt"
		token := issuer["dns"].(map[string]any)["settings"].(map[string]any)["CF_DNS_API_TOKEN"]
		issuer["dns"] = map[string]any{
			"provider": "rfc2136", "resolvers": []string{p.DNS.Addr}, "propagation": "resolvers",
			"settings": map[string]any{"DNSUPDATE_NAMESERVER": p.DNS.Addr, "DNSUPDATE_TSIG_KEY": "acme.",
				"DNSUPDATE_TSIG_ALGORITHM": "hmac-sha256.", "DNSUPDATE_TSIG_SECRET": token},
		}
		config["reconcile"] = map[string]any{"schedule": "@every 5s"}
	})
	port, err := process.FreePort()
	p.Must(err)
	p.change("values.yaml", func(values map[string]any) {
		values["port"] = port
		values["trust"].(map[string]any)["acme"] = map[string]any{"configMap": "acme-ca"}
	})
	p.file("acme-ca.pem", string(p.ACME.CAPEM))
	p.script = strings.Replace(p.script, "kubectl -n anycert create configmap vault-ca",
		"kubectl -n anycert create configmap acme-ca --from-file=ca.crt=acme-ca.pem\nkubectl -n anycert create configmap vault-ca", 1)
	p.file("dns-token", p.DNS.Secret)
	p.file("vault-ca.pem", string(p.Vault.CAPEM))
}

func (p *page) change(name string, how func(map[string]any)) {
	p.T.Helper()
	path := filepath.Join(p.dir, name)
	text, err := os.ReadFile(path)
	p.Must(err)
	var content map[string]any
	p.Must(yaml.Unmarshal(text, &content))
	how(content)
	text, err = yaml.Marshal(content)
	p.Must(err)
	p.file(name, string(text))
}

// enter makes the shell's surroundings: the tools, an administrator's contexts and his
// session with Vault.
func (p *page) enter() {
	p.T.Helper()
	tools, kubeconfig := p.T.TempDir(), filepath.Join(p.dir, "kubeconfig")
	for _, part := range []parts.Part{parts.Kubectl, parts.Helm, parts.Vault} {
		path, err := parts.Find(part)
		p.Must(err)
		p.Must(os.Symlink(path, filepath.Join(tools, string(part))))
	}
	p.Must(os.Symlink(p.Binary, filepath.Join(tools, "anycert")))
	p.Must(kubeserver.WriteKubeconfig(kubeconfig,
		kubeserver.Entry{Context: "hub", Server: p.Clusters["hub"], Token: p.Clusters["hub"].AdminToken},
		kubeserver.Entry{Context: "europe", Server: p.Clusters["europe"], Token: p.Clusters["europe"].AdminToken}))
	p.env = []string{"PATH=" + tools + ":/usr/bin:/bin", "HOME=" + p.dir, "KUBECONFIG=" + kubeconfig,
		"VAULT_ADDR=" + p.Vault.Addr, "VAULT_CACERT=" + p.Vault.CAFile, "VAULT_TOKEN=" + p.Vault.RootToken}
}

// run types commands into a shell that stops at the first which fails.
func (p *page) run(commands string) (printed string) {
	p.T.Helper()
	printed, err := p.try(commands)
	if err != nil {
		p.T.Fatalf("the page's commands: %v\n%s", err, printed)
	}
	return printed
}

func (p *page) try(commands string) (printed string, err error) {
	shell := exec.CommandContext(p.T.Context(), "bash", "-euo", "pipefail", "-c",
		"trap 'echo \"failed at line $LINENO: $BASH_COMMAND\" >&2' ERR\n"+commands)
	shell.Dir, shell.Env = p.dir, p.env
	text, err := shell.CombinedOutput()
	return string(text), err
}
