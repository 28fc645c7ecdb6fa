package kubernetes

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/anycert/anycert"
)

// SourceConfig is the cluster that an issuer takes certificates from. Nothing is
// written there: it needs one right, to get the Secrets that it names. Exactly one way
// to the cluster is named, as for a sink.
type SourceConfig struct {
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
	// Token is the bearer token for that server.
	Token anycert.Reference `yaml:"token"`

	// Secret is the place of each certificate's Secret, as NAMESPACE/NAME: a Go template
	// over .Name, the name of the certificate, such as "web/{{ .Name }}-tls".
	Secret string `yaml:"secret"`
}

// Check lists every mistake. It reads no file and asks nobody.
func (c SourceConfig) Check() []anycert.Problem {
	var found problems
	c.access().checkCluster(&found)
	if c.Secret == "" {
		found.add("secret", `it is missing: say where the certificates lie, as in "web/{{ .Name }}-tls"`)
	} else if _, err := parsePlace(c.Secret); err != nil {
		found.add("secret", "%v", err)
	}
	return found
}

// access is the way to the cluster, as a sink has it.
func (c SourceConfig) access() Config {
	return Config{Kubeconfig: c.Kubeconfig, Context: c.Context, InCluster: c.InCluster, Server: c.Server, CA: c.CA, Token: c.Token}
}

// Files are the kubeconfigs that are read.
func (c SourceConfig) Files() []string { return c.access().Files() }

// OpenSource makes the source. It reads the kubeconfig, the CA or the pod's service
// account, and asks nobody. What carries the mark of env.Owner is not taken from
// there; without an owner, everything is.
func (c SourceConfig) OpenSource(env anycert.SinkEnv) (anycert.Source, error) {
	place, err := parsePlace(c.Secret)
	if err != nil {
		return nil, fmt.Errorf("secret: %w", err)
	}
	cluster, err := c.access().connect(env)
	if err != nil {
		return nil, err
	}
	return &Source{owner: env.Owner, cluster: cluster, called: cmp.Or(c.Context, cluster.server), place: place}, nil
}

// placeTemplate makes the address of a Secret from the name of a certificate.
type placeTemplate struct{ namespace, name nameTemplate }

// parsePlace reads a template and tries it.
func parsePlace(text string) (placeTemplate, error) {
	namespace, name, ok := cutOutside(text)
	if !ok {
		return placeTemplate{}, fmt.Errorf("%q is not the place of a Secret: write NAMESPACE/NAME, as in %q", text, "web/"+defaultTemplate)
	}
	var place placeTemplate
	var err error
	if place.namespace, err = parseTemplate(namespace); err != nil {
		return placeTemplate{}, err
	}
	if place.name, err = parseTemplate(name); err != nil {
		return placeTemplate{}, err
	}
	_, err = place.address("example")
	return place, err
}

// cutOutside cuts a template at its first slash that stands in no {{ }}.
func cutOutside(text string) (namespace, name string, ok bool) {
	for at := range len(text) {
		if text[at] == '/' && strings.Count(text[:at], "{{") == strings.Count(text[:at], "}}") {
			return text[:at], text[at+1:], text[:at] != "" && text[at+1:] != ""
		}
	}
	return "", "", false
}

func (p placeTemplate) address(certificate string) (address, error) {
	namespace, err := p.namespace.name(certificate)
	if err != nil {
		return address{}, err
	}
	name, err := p.name.name(certificate)
	if err != nil {
		return address{}, err
	}
	return parseAddress(namespace + "/" + name)
}
