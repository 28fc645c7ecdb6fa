package chart

import (
	"strings"
	"testing"
)

// A mistake in the values is told before anything is applied, with what to do.
func TestMistakes(t *testing.T) {
	follower := values(t, "follower")
	replace := func(old, new string) string {
		t.Helper()
		if !strings.Contains(follower, old) {
			t.Fatalf("the values have no %q", old)
		}
		return strings.Replace(follower, old, new, 1)
	}
	tests := []struct{ name, values, want string }{
		{"nothing", "{}", "there is no configuration: set config to what docs/config.md describes, or existingConfigMap"},
		{"two configurations", follower + "existingConfigMap: other\n", "config and existingConfigMap are both set: keep one of them"},
		{"no image", replace("{repository: registry.example.com/anycert}", "{}"), "image.repository is empty: name the repository that the image of `make image` was pushed to"},
		{"tag in the repository", replace("com/anycert}", "com/anycert@sha256}"), "at '/image/repository': 'registry.example.com/anycert@sha256' does not match pattern"},
		{"short digest", replace("com/anycert}", "com/anycert, digest: sha256:abc}"), "at '/image/digest'"},
		{"no version", replace("  version: 1\n", ""), "config.version is missing: it is the version of the format: 1"},
		{"no owner", replace("  owner: example-prod\n", ""), "config.owner is missing: it is the name of this hub, which stands in every mark; choose it once"},
		{"no store", replace("  store:\n    vault:\n      address: https://vault.example.com:8200\n      auth: {method: kubernetes, role: follower}\n", ""), "config.store is missing: say where the certificates are kept, as store.vault"},
		{"misspelled field", replace("  owner:", "  ower:"), "at '/config': additional properties 'ower' not allowed"},
		{"misspelled value", follower + "credential: {}\n", "additional properties 'credential' not allowed"},
		{"misspelled value below", follower + "podMonitor: {enable: true}\n", "at '/podMonitor': additional properties 'enable' not allowed"},
		{"listen", follower + "  http: {listen: 127.0.0.1:1}\n", "config.http.listen is set: probes and metrics listen where the value port says; leave it out"},
		{"token twice", follower + "  http: {token: {env: TOKEN}}\npage: {token: {secret: page, key: token}}\n", "config.http.token is set, and below page as well: keep one of them"},
		{"proxy twice", follower + "  http: {proxy_header: X-User}\npage: {proxyHeader: X-User}\n", "config.http.proxy_header is set, and below page as well: keep one of them"},
		{"a token as a value", follower + "page: {token: 0f3c1d5e7a9b2c4d6e8f}\n", "at '/page/token': got string, want object"},
		{"a token without key", follower + "page: {token: {secret: page}}\n", "at '/page/token'"},
		{"a page that the chart cannot write", "image: {repository: registry.example.com/anycert}\nexistingConfigMap: ours\npage: {token: {secret: page, key: token}}\n", "existingConfigMap is set, so that the chart cannot say there who may see the status page: write http into it"},
		{"nobody comes in by the Service", follower + "page: {service: true}\nnetworkPolicy: {enabled: true}\n", "page.service and networkPolicy are enabled, and networkPolicy.pageFrom is empty"},
		{"local store", replace("    vault:\n      address: https://vault.example.com:8200\n      auth: {method: kubernetes, role: follower}\n", "    local: {path: /a.db}\n"), "config.store.local would keep the only truth in a pod, which forgets it: use store.vault"},
		{"no audience", follower + "vault: {audience: \"\"}\n", "vault.audience is empty, so the pod has no token for Vault's method kubernetes: set it to the audience of the role in Vault"},
		{"no such Secret", replace("role: follower}", "role: follower}\n      ca_cert: /etc/anycert/credentials/vault/ca.crt"), "config refers to /etc/anycert/credentials/vault, but credentials.vault is not set: set it to {secret: NAME OF A SECRET}"},
		{"no such ConfigMap", replace("role: follower}", "role: follower}\n      ca_cert: /etc/anycert/trust/vault/ca.crt"), "config refers to /etc/anycert/trust/vault, but trust.vault is not set: set it to {configMap: NAME OF A CONFIGMAP}"},
		{"credential without Secret", follower + "credentials: {fly: {}}\n", "at '/credentials/fly': missing property 'secret'"},
		{"credential with a bad name", follower + "credentials: {Fly_IO: {secret: fly}}\n", "'Fly_IO' does not match pattern"},
		{"nobody may scrape", follower + "podMonitor: {enabled: true}\nnetworkPolicy: {enabled: true}\n", "podMonitor and networkPolicy are enabled, and networkPolicy.metricsFrom is empty, so Prometheus could not come in: name it"},
		{"privileged port", follower + "port: 80\n", "at '/port': minimum: got 80, want 1,024"},
		{"text for a number", follower + "replicas: two\n", "at '/replicas': got string, want integer"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			stdout, stderr, err := helm(t, test.values, "template", "anycert")
			if err == nil || stdout != "" {
				t.Fatal("it is rendered")
			}
			if !strings.Contains(stderr, test.want) {
				t.Errorf("helm says:\n%swant %s", stderr, test.want)
			}
		})
	}
}

// A configuration that comes as a text is held to the same.
func TestMistakesInAText(t *testing.T) {
	const head = "image: {repository: registry.example.com/anycert}\nconfig: "
	for text, want := range map[string]string{
		`"version: 1\nstore: {vault: {}}"`: "config.owner is missing",
		`"- a"`:                            "config is not a map in YAML",
		`"a: [\n"`:                         "config is not a map in YAML",
		`"version: 1\nowner: a\nstore: {vault: null}\nhttp: {listen: a}"`: "config.http.listen is set",
	} {
		if _, stderr, err := helm(t, head+text, "template", "anycert"); err == nil || !strings.Contains(stderr, want) {
			t.Errorf("config: %s: %v, helm says %s, want %s", text, err, stderr, want)
		}
	}
}
