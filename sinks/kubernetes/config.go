// Package kubernetes is the sink that holds copies of certificates as Secrets of
// type kubernetes.io/tls in the namespaces of one cluster. Its page for users is
// docs/sinks/kubernetes.md.
package kubernetes

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/validate/content"

	"github.com/anycert/anycert"
)

// Config is what stands under a sink's `config:` in the configuration. Exactly one
// way to the cluster is named: kubeconfig and context, in_cluster, or server.
type Config struct {
	// Kubeconfig is the path of a kubeconfig file; without it KUBECONFIG, then
	// ~/.kube/config.
	Kubeconfig string `yaml:"kubeconfig"`
	// Context is a context of the kubeconfig; without it the file's current one.
	Context string `yaml:"context"`
	// InCluster uses the service account of the pod that anycert runs in.
	InCluster bool `yaml:"in_cluster"`
	// Server is the https URL of the API server, for places without a kubeconfig.
	Server string `yaml:"server"`
	// CA is the path of the PEM file that the server's certificate is checked
	// with; without it the system's roots.
	CA string `yaml:"ca"`
	// Token is the bearer token for Server.
	Token anycert.Reference `yaml:"token"`

	// Namespaces get one Secret each for every certificate.
	Namespaces []string `yaml:"namespaces"`
	// Secret is the Go template of the Secret's name over .Name, the name of the
	// certificate; "{{ .Name }}-tls" when left out.
	Secret string `yaml:"secret"`
	// Labels are added to each Secret, and kept there.
	Labels map[string]string `yaml:"labels"`
	// Annotations are added to each Secret, and kept there.
	Annotations map[string]string `yaml:"annotations"`
	// Adopt names Secrets of others, as NAMESPACE/NAME, that may be taken over.
	Adopt []string `yaml:"adopt"`

	// List sees a namespace with one listing in place of a read for each Secret.
	// It needs the right to list Secrets, which shows all of the namespace's.
	List bool `yaml:"list"`
	// QPS is how many requests a second the API server is asked at most, on
	// average; 50 when left out.
	QPS float32 `yaml:"qps"`
	// Burst is how many requests may be made at once; 100 when left out.
	Burst int `yaml:"burst"`
}

const (
	defaultQPS   = 50
	defaultBurst = 100
	// Kubernetes allows 256 KiB for all annotations of an object: the rest is for
	// ours and for those of others.
	maxAnnotations = 200 << 10
)

// Check lists every mistake. It reads no file and asks nobody.
func (c Config) Check() []anycert.Problem {
	var found problems
	c.checkCluster(&found)
	c.checkNames(&found)
	c.checkMetadata(&found)
	if c.QPS < 0 {
		found.add("qps", "%v is below zero: leave it out for %d requests a second", c.QPS, defaultQPS)
	}
	if c.Burst < 0 {
		found.add("burst", "%d is below zero: leave it out for %d requests", c.Burst, defaultBurst)
	}
	return found
}

func (c Config) checkCluster(found *problems) {
	byKubeconfig, byServer := c.Kubeconfig != "" || c.Context != "", c.Server != ""
	switch ways := count(byKubeconfig, c.InCluster, byServer); {
	case ways == 0:
		found.add("", "it does not say which cluster: set context (and kubeconfig), or in_cluster: true, or server, ca and token")
	case ways > 1:
		found.add("", "it names more than one way to the cluster: keep one of kubeconfig and context, in_cluster, or server")
	}
	if !byServer {
		if c.CA != "" {
			found.add("ca", "it belongs to server, which is not set")
		}
		if !c.Token.IsZero() {
			found.add("token", "it belongs to server, which is not set")
		}
		return
	}
	if err := checkServer(c.Server); err != nil {
		found.add("server", "%v", err)
	}
	if c.Token.IsZero() {
		found.add("token", "it is missing: say where the token for server is kept, as {env: NAME}, {file: PATH} or {vault: MOUNT/PATH#FIELD}")
	}
}

// checkServer holds a server's address to https: private keys are sent there. The
// address itself is not repeated where it may hold a password.
func checkServer(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return fmt.Errorf("it is not a URL: write https://HOST:PORT")
	case u.User != nil:
		return fmt.Errorf("it holds a user or password: use token")
	case u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("%q has a query or a fragment: write https://HOST:PORT", address)
	case u.Scheme == "https", u.Scheme == "http" && loopback(u.Hostname()):
		return nil
	}
	return fmt.Errorf("%q is not https: private keys are sent there", address)
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (c Config) checkNames(found *problems) {
	if len(c.Namespaces) == 0 {
		found.add("namespaces", "they are missing: name at least one namespace")
	}
	for i, namespace := range c.Namespaces {
		field := fmt.Sprintf("namespaces[%d]", i)
		if wrong := content.IsDNS1123Label(namespace); len(wrong) > 0 {
			found.add(field, "%q is not the name of a namespace: use lower-case letters, digits and '-', 63 at most", namespace)
		} else if slices.Index(c.Namespaces, namespace) < i {
			found.add(field, "%q is named twice", namespace)
		}
	}
	if template, err := parseTemplate(c.Secret); err != nil {
		found.add("secret", "%v", err)
	} else if _, err := template.name("example"); err != nil {
		found.add("secret", "%v", err)
	}
	for i, place := range c.Adopt {
		field := fmt.Sprintf("adopt[%d]", i)
		at, err := parseAddress(place)
		if err != nil {
			found.add(field, "%v", err)
		} else if !slices.Contains(c.Namespaces, at.namespace) {
			found.add(field, "namespace %q is not one of namespaces: nothing is put there", at.namespace)
		}
	}
}

func (c Config) checkMetadata(found *problems) {
	for _, key := range slices.Sorted(maps.Keys(c.Labels)) {
		field := "labels." + key
		if reserved(key) {
			found.add(field, "anycert sets it itself: leave it out")
		} else if wrong := content.IsLabelKey(key); len(wrong) > 0 {
			found.add(field, "it is not a label's name: %s", wrong[0])
		} else if wrong := content.IsLabelValue(c.Labels[key]); len(wrong) > 0 {
			found.add(field, "%q is not a label's value: %s", c.Labels[key], wrong[0])
		}
	}
	size := 0
	for _, key := range slices.Sorted(maps.Keys(c.Annotations)) {
		size += len(key) + len(c.Annotations[key])
		field := "annotations." + key
		if reserved(key) {
			found.add(field, "anycert sets it itself: leave it out")
		} else if wrong := content.IsLabelKey(strings.ToLower(key)); len(wrong) > 0 {
			found.add(field, "it is not an annotation's name: %s", wrong[0])
		}
	}
	if size > maxAnnotations {
		found.add("annotations", "they have %d bytes, %d are allowed", size, maxAnnotations)
	}
}

// problems collects mistakes.
type problems []anycert.Problem

func (p *problems) add(field, format string, args ...any) {
	*p = append(*p, anycert.Problem{Field: field, Text: fmt.Sprintf(format, args...)})
}

func count(facts ...bool) (n int) {
	for _, fact := range facts {
		if fact {
			n++
		}
	}
	return n
}
