package kubernetes

import (
	"fmt"
	"net/url"
	"strings"
	"text/template"

	"k8s.io/apimachinery/pkg/api/validate/content"

	"github.com/anycert/anycert"
)

// defaultTemplate names a Secret when the configuration does not.
const defaultTemplate = "{{ .Name }}-tls"

// nameTemplate makes the name of a Secret from that of a certificate.
type nameTemplate struct{ parsed *template.Template }

func parseTemplate(text string) (nameTemplate, error) {
	if text == "" {
		text = defaultTemplate
	}
	parsed, err := template.New("secret").Parse(text)
	if err != nil {
		return nameTemplate{}, fmt.Errorf("%q is not a template (%w): write it like %q", text, err, defaultTemplate)
	}
	return nameTemplate{parsed}, nil
}

func (t nameTemplate) name(certificate string) (string, error) {
	var out short
	if err := t.parsed.Execute(&out, struct{ Name string }{certificate}); err != nil {
		return "", fmt.Errorf("the template does not work (%w): it knows .Name alone", err)
	}
	if wrong := content.IsDNS1123Subdomain(out.String()); len(wrong) > 0 {
		return "", fmt.Errorf("the template makes %q for the certificate %q, which cannot be the name of a Secret: use lower-case letters, digits, '-' and '.', 253 at most", out.String(), certificate)
	}
	return out.String(), nil
}

// short ends a template whose text is longer than any name.
type short struct{ strings.Builder }

func (s *short) Write(p []byte) (int, error) {
	if s.Len()+len(p) > content.DNS1123SubdomainMaxLength {
		return 0, fmt.Errorf("it makes more than %d characters", content.DNS1123SubdomainMaxLength)
	}
	return s.Builder.Write(p)
}

// address is the place of a Secret within its cluster.
type address struct{ namespace, name string }

// String is the address as people write it, and as adopt and labels hold it.
func (a address) String() string { return a.namespace + "/" + a.name }

func parseAddress(text string) (address, error) {
	namespace, name, _ := strings.Cut(text, "/")
	if len(content.IsDNS1123Label(namespace)) > 0 || len(content.IsDNS1123Subdomain(name)) > 0 {
		return address{}, fmt.Errorf("%q is not the address of a Secret: write NAMESPACE/NAME", text)
	}
	return address{namespace, name}, nil
}

// scheme begins the key of every target of this sink.
const scheme = "k8s://"

// identify makes the part of a target's key that stands for the cluster: the same
// for every context and kubeconfig that names the same server. The path is a part
// of it, since one host may pass requests on to many clusters.
func identify(server *url.URL) string {
	host := strings.TrimSuffix(strings.ToLower(server.Host), ":"+map[string]string{"https": "443", "http": "80"}[server.Scheme])
	return host + strings.TrimSuffix(server.Path, "/")
}

// Targets lists one Secret in each namespace.
func (s *Sink) Targets(certificate string, _ []string) ([]anycert.Target, error) {
	name, err := s.template.name(certificate)
	if err != nil {
		return nil, fmt.Errorf("naming the Secret of certificate %q: %w", certificate, err)
	}
	targets := make([]anycert.Target, len(s.config.Namespaces))
	for i, namespace := range s.config.Namespaces {
		at := address{namespace, name}
		targets[i] = anycert.Target{Key: s.key(at), Label: at.String(), Certificate: certificate}
	}
	return targets, nil
}

func (s *Sink) key(at address) string { return s.cluster.key(at) }

func (c *cluster) key(at address) string { return scheme + c.server + "/" + at.String() }
