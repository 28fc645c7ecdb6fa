package chart

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/anycert/anycert/internal/config"
)

// Who may see the status page is said below page: anycert takes what the chart makes of
// it, and finds the token in a file that comes from a Secret.
func TestStatusPage(t *testing.T) {
	m := render(t, values(t, "page"))
	file := filepath.Join(t.TempDir(), "config.yaml")
	text := get[corev1.ConfigMap](t, m, "ConfigMap anycert/anycert").Data["config.yaml"]
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	loaded, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	got := loaded.HTTP
	if got.Token.File != "/etc/anycert/page/token" || got.ProxyHeader != "X-Forwarded-User" || got.Proxies[0] != "10.4.0.0/16" || got.Hosts[0] != "anycert.example.com" {
		t.Errorf("the configuration says %+v", got)
	}

	pod := get[appsv1.Deployment](t, m, "Deployment anycert/anycert").Spec.Template.Spec
	mode := int32(0o440)
	want := corev1.Volume{Name: "page-token", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
		SecretName: "anycert-page", DefaultMode: &mode, Items: []corev1.KeyToPath{{Key: "status", Path: "token"}}}}}
	if diff := cmp.Diff(want, pod.Volumes[1]); diff != "" {
		t.Errorf("the volume of the token (-want +got):\n%s", diff)
	}
	if mount := pod.Containers[0].VolumeMounts[1]; mount.Name != "page-token" || mount.MountPath != "/etc/anycert/page" || !mount.ReadOnly {
		t.Errorf("it is mounted as %+v", mount)
	}

	service := get[corev1.Service](t, m, "Service anycert/anycert").Spec
	port := service.Ports[0]
	if !service.PublishNotReadyAddresses || port.Port != 80 || port.TargetPort.String() != pod.Containers[0].Ports[0].Name {
		t.Errorf("the Service is %+v", service)
	}
	template := get[appsv1.Deployment](t, m, "Deployment anycert/anycert").Spec.Template
	for label, value := range service.Selector {
		if template.Labels[label] != value {
			t.Errorf("the Service selects %s=%s, and the pod has %q", label, value, template.Labels[label])
		}
	}
	in := get[networkingv1.NetworkPolicy](t, m, "NetworkPolicy anycert/anycert").Spec.Ingress
	if len(in) != 1 || in[0].From[0].NamespaceSelector.MatchLabels["kubernetes.io/metadata.name"] != "ingress" {
		t.Errorf("in: %+v", in)
	}
}

// What is in config beside the fields of the page stays, and so do fields that page does
// not set.
func TestStatusPageBesideConfig(t *testing.T) {
	m := render(t, values(t, "follower")+"  http: {hosts: [a.example.com]}\npage: {token: {secret: page, key: token}}\n")
	text := get[corev1.ConfigMap](t, m, "ConfigMap anycert/anycert").Data["config.yaml"]
	for _, want := range []string{"http:\n  hosts:\n  - a.example.com\n  token:\n    file: /etc/anycert/page/token\n", "owner: example-prod\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("the configuration lacks\n%sand is\n%s", want, text)
		}
	}
}
