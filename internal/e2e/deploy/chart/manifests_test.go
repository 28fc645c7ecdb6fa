package chart

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

// sets are the values that the tests here and those on a real API server render.
var sets = []string{"follower", "hub", "existing", "page"}

func values(t *testing.T, set string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", set+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestLint(t *testing.T) {
	for _, set := range append(sets, "") {
		text := "{}"
		if set != "" {
			text = values(t, set)
		}
		if stdout, stderr, err := helm(t, text, "lint", "--strict"); err != nil || set != "" && stderr != "" {
			t.Errorf("values %q: %v\n%s%s", set, err, stdout, stderr)
		}
	}
}

func TestWhatIsRendered(t *testing.T) {
	for set, want := range map[string][]string{
		"follower": {
			"ConfigMap anycert/anycert", "Deployment anycert/anycert", "Role web/anycert", "RoleBinding web/anycert",
			"ServiceAccount anycert/anycert",
		},
		"hub": {
			"ConfigMap anycert/anycert", "Deployment anycert/anycert", "NetworkPolicy anycert/anycert", "PodMonitor anycert/anycert",
			"PrometheusRule anycert/anycert",
			"Role api/anycert", "Role legacy/anycert", "Role other/anycert", "Role shop/anycert", "Role web/anycert",
			"RoleBinding api/anycert", "RoleBinding legacy/anycert", "RoleBinding other/anycert", "RoleBinding shop/anycert", "RoleBinding web/anycert",
			"ServiceAccount anycert/anycert",
		},
		"page": {
			"ConfigMap anycert/anycert", "Deployment anycert/anycert", "NetworkPolicy anycert/anycert", "Service anycert/anycert",
			"ServiceAccount anycert/anycert",
		},
		"existing": {"Deployment anycert/certificates", "Role web/certificates", "RoleBinding web/certificates"},
	} {
		got := slices.Sorted(maps.Keys(render(t, values(t, set))))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("values %q (-want +got):\n%s", set, diff)
		}
	}
}

// Whatever the values, the pod has no more power than it needs.
func TestThePodIsConfined(t *testing.T) {
	for _, set := range sets {
		name := "Deployment anycert/anycert"
		if set == "existing" {
			name = "Deployment anycert/certificates"
		}
		pod := get[appsv1.Deployment](t, render(t, values(t, set)), name).Spec.Template.Spec
		yes, no, user := true, false, int64(65532)
		seccomp := &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}
		if diff := cmp.Diff(&corev1.PodSecurityContext{RunAsNonRoot: &yes, RunAsUser: &user, RunAsGroup: &user, FSGroup: &user, SeccompProfile: seccomp}, pod.SecurityContext); diff != "" {
			t.Errorf("values %q: the pod's security context (-want +got):\n%s", set, diff)
		}
		if len(pod.Containers) != 1 || len(pod.InitContainers) != 0 {
			t.Fatalf("values %q: the pod has other containers", set)
		}
		if diff := cmp.Diff(&corev1.SecurityContext{AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes,
			Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}}, pod.Containers[0].SecurityContext); diff != "" {
			t.Errorf("values %q: the container's security context (-want +got):\n%s", set, diff)
		}
		if pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken || pod.HostNetwork || pod.HostPID || pod.HostIPC {
			t.Errorf("values %q: the pod has a token that no volume names, or something of the host", set)
		}
		for _, mount := range pod.Containers[0].VolumeMounts {
			if !mount.ReadOnly && mount.Name != "scratch" { // the test's own
				t.Errorf("values %q: %s can be written", set, mount.MountPath)
			}
		}
	}
}

// The files that config refers to are where it expects them; what is read from a
// Secret is read by the pod's group alone.
func TestFilesAreMounted(t *testing.T) {
	m := render(t, values(t, "hub"))
	pod := get[appsv1.Deployment](t, m, "Deployment anycert/anycert").Spec.Template.Spec
	from := map[string]corev1.VolumeSource{}
	for _, volume := range pod.Volumes {
		from[volume.Name] = volume.VolumeSource
	}
	at := map[string]corev1.VolumeSource{}
	for _, mount := range pod.Containers[0].VolumeMounts {
		at[mount.MountPath] = from[mount.Name]
	}
	mode, lifetime, hour := int32(0o440), int64(1200), int64(3600)
	projected := func(sources ...corev1.VolumeProjection) corev1.VolumeSource {
		return corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{DefaultMode: &mode, Sources: sources}}
	}
	configMap := func(name string, items ...corev1.KeyToPath) corev1.VolumeSource {
		return corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: name}, DefaultMode: &mode, Items: items}}
	}
	secret := func(name string, items ...corev1.KeyToPath) corev1.VolumeSource {
		return corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: name, DefaultMode: &mode, Items: items}}
	}
	root := configMap("kube-root-ca.crt", corev1.KeyToPath{Key: "ca.crt", Path: "ca.crt"}).ConfigMap
	want := map[string]corev1.VolumeSource{
		"/etc/anycert/config":             configMap("anycert"),
		"/etc/anycert/credentials/europe": secret("anycert-europe"),
		"/etc/anycert/credentials/fastly": secret("fastly", corev1.KeyToPath{Key: "token", Path: "token"}),
		"/etc/anycert/trust/vault":        configMap("company-ca", corev1.KeyToPath{Key: "ca.crt", Path: "ca.crt"}),
		"/var/run/secrets/anycert/vault": projected(corev1.VolumeProjection{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{
			Audience: "https://vault.example.com", ExpirationSeconds: &lifetime, Path: "token"}}),
		"/var/run/secrets/kubernetes.io/serviceaccount": projected(
			corev1.VolumeProjection{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{ExpirationSeconds: &hour, Path: "token"}},
			corev1.VolumeProjection{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: root.LocalObjectReference, Items: root.Items}},
			corev1.VolumeProjection{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{
				{Path: "namespace", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.namespace"}}}}},
		),
		"/scratch": {EmptyDir: &corev1.EmptyDirVolumeSource{}},
	}
	if diff := cmp.Diff(want, at); diff != "" {
		t.Errorf("mounts (-want +got):\n%s", diff)
	}
}

// A token is mounted only where something reads it.
func TestNoTokenWithoutNeed(t *testing.T) {
	text := strings.NewReplacer("in_cluster: true", "server: https://a.example.com, token: {env: TOKEN}", "method: kubernetes, role: follower", "method: token").
		Replace(values(t, "follower")) + "vault: {audience: \"\"}\n"
	m := render(t, text)
	for _, volume := range get[appsv1.Deployment](t, m, "Deployment anycert/anycert").Spec.Template.Spec.Volumes {
		if volume.Projected != nil {
			t.Errorf("the volume %s is mounted, though nobody needs a token", volume.Name)
		}
	}
	for name := range m {
		if strings.HasPrefix(name, "Role") {
			t.Errorf("there is a %s, though no sink is in the cluster", name)
		}
	}
}

// The configuration arrives as it was written, whichever way it comes, but for the one
// thing that the chart fills in.
func TestTheConfigurationArrives(t *testing.T) {
	var given struct{ Config map[string]any }
	if err := yaml.Unmarshal([]byte(values(t, "hub")), &given); err != nil {
		t.Fatal(err)
	}
	text, err := yaml.Marshal(given.Config)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, append([]byte("# as a person wrote it\n"), text...), 0o600); err != nil {
		t.Fatal(err)
	}
	before, rest, _ := strings.Cut(values(t, "hub"), "config:\n")
	_, after, _ := strings.Cut(rest, "replicas:")
	withoutConfig := before + "replicas:" + after

	given.Config["store"].(map[string]any)["vault"].(map[string]any)["auth"].(map[string]any)["token_path"] = "/var/run/secrets/anycert/vault/token"
	asMap, asText := render(t, values(t, "hub")), render(t, withoutConfig, "--set-file", "config="+file)
	if diff := cmp.Diff(string(asMap["Deployment anycert/anycert"]), string(asText["Deployment anycert/anycert"])); diff != "" {
		t.Errorf("the pod differs when config comes as a text (-map +text):\n%s", diff)
	}
	for way, m := range map[string]manifests{"map": asMap, "text": asText} {
		var got map[string]any
		if err := yaml.Unmarshal([]byte(get[corev1.ConfigMap](t, m, "ConfigMap anycert/anycert").Data["config.yaml"]), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(given.Config, got); diff != "" {
			t.Errorf("config given as a %s arrives changed (-given +got):\n%s", way, diff)
		}
	}
}

// A changed configuration makes a new pod, and nothing else does.
func TestAChangedConfigurationMakesANewPod(t *testing.T) {
	before, after := values(t, "hub"), strings.Replace(values(t, "hub"), "ops@example.com", "certificates@example.com", 1)
	template := func(text string) string {
		return get[appsv1.Deployment](t, render(t, text), "Deployment anycert/anycert").Spec.Template.Annotations["checksum/config"]
	}
	if sum := template(before); sum == "" || sum != template(before) || sum == template(after) {
		t.Errorf("the checksum is %q, then %q with another configuration", sum, template(after))
	}
	if sum := get[appsv1.Deployment](t, render(t, values(t, "existing")), "Deployment anycert/certificates").Spec.Template.Annotations["checksum/config"]; sum != "" {
		t.Errorf("there is a checksum of a configuration that the chart does not know: %s", sum)
	}
}

// The Roles name the Secrets that the configuration makes, and no more.
func TestRolesFollowTheConfiguration(t *testing.T) {
	keep := func(names ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: names, Verbs: []string{"get", "patch"}}
	}
	every := func(verb string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{verb}}
	}
	events := rbacv1.PolicyRule{APIGroups: []string{"events.k8s.io"}, Resources: []string{"events"}, Verbs: []string{"create", "patch"}}
	m := render(t, values(t, "hub"))
	for namespace, want := range map[string][]rbacv1.PolicyRule{
		"web":    {keep("shop-tls", "tls-example", "tls-moving", "tls-shop"), every("create"), events, every("list")},
		"api":    {keep("more-tls", "tls-example", "tls-moving", "tls-shop"), every("create"), events},
		"shop":   {keep("shop-tls"), every("create"), events, every("list")},
		"other":  {keep("other-tls"), every("create"), events},
		"legacy": {{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{"moving-old"}, Verbs: []string{"get"}}},
	} {
		if diff := cmp.Diff(want, get[rbacv1.Role](t, m, "Role "+namespace+"/anycert").Rules); diff != "" {
			t.Errorf("the Role in %s (-want +got):\n%s", namespace, diff)
		}
		binding := get[rbacv1.RoleBinding](t, m, "RoleBinding "+namespace+"/anycert")
		if diff := cmp.Diff([]rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "anycert", Name: "anycert"}}, binding.Subjects); diff != "" {
			t.Errorf("the RoleBinding in %s (-want +got):\n%s", namespace, diff)
		}
	}
	if m := render(t, values(t, "hub"), "--set", "rbac.create=false"); m["Role web/anycert"] != nil || m["RoleBinding web/anycert"] != nil {
		t.Error("there are Roles with rbac.create=false")
	}
}

func TestNetworkPolicy(t *testing.T) {
	policy := get[networkingv1.NetworkPolicy](t, render(t, values(t, "hub")), "NetworkPolicy anycert/anycert").Spec
	var out []string
	for _, rule := range policy.Egress {
		for _, port := range rule.Ports {
			out = append(out, string(*port.Protocol)+" "+port.Port.String())
		}
		for _, peer := range rule.To {
			out = append(out, peer.IPBlock.CIDR)
		}
	}
	if diff := cmp.Diff([]string{"UDP 53", "TCP 53", "TCP 443", "TCP 8200", "192.0.2.0/24"}, out); diff != "" {
		t.Errorf("out (-want +got):\n%s", diff)
	}
	if len(policy.Ingress) != 1 || len(policy.Ingress[0].From) != 1 || policy.Ingress[0].Ports[0].Port.String() != "http" {
		t.Errorf("in: %+v", policy.Ingress)
	}
	closed := get[networkingv1.NetworkPolicy](t, render(t, values(t, "follower"), "--set", "networkPolicy.enabled=true"), "NetworkPolicy anycert/anycert").Spec
	if len(closed.Ingress) != 0 || !slices.Contains(closed.PolicyTypes, networkingv1.PolicyTypeIngress) {
		t.Errorf("in, without metricsFrom: %+v", closed)
	}
}

// What the Prometheus operator gets is what promtool has tested.
func TestMonitoring(t *testing.T) {
	m := render(t, values(t, "hub"))
	var rule struct {
		Metadata struct{ Labels map[string]string }
		Spec     any
	}
	var tested any
	if err := errors.Join(yaml.Unmarshal(m["PrometheusRule anycert/anycert"], &rule), yaml.Unmarshal([]byte(read(t, "../alerts/anycert.rules.yaml")), &tested)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(tested, rule.Spec); diff != "" {
		t.Errorf("the alert rules (-tested +rendered):\n%s", diff)
	}
	var monitor struct {
		Metadata struct{ Labels map[string]string }
		Spec     struct {
			JobLabel            string
			Selector            struct{ MatchLabels map[string]string }
			PodMetricsEndpoints []struct{ Port, Path, Interval string }
		}
	}
	if err := yaml.Unmarshal(m["PodMonitor anycert/anycert"], &monitor); err != nil {
		t.Fatal(err)
	}
	if rule.Metadata.Labels["release"] != "prometheus" || monitor.Metadata.Labels["release"] != "prometheus" {
		t.Error("the operator's labels are missing")
	}
	pod := get[appsv1.Deployment](t, m, "Deployment anycert/anycert").Spec.Template
	for label, want := range monitor.Spec.Selector.MatchLabels {
		if pod.Labels[label] != want {
			t.Errorf("the PodMonitor selects %s=%s, and the pod has %q", label, want, pod.Labels[label])
		}
	}
	endpoint, port := monitor.Spec.PodMetricsEndpoints[0], pod.Spec.Containers[0].Ports[0]
	if endpoint.Path != "/metrics" || endpoint.Port != port.Name || endpoint.Interval != "1m" || port.ContainerPort != 9090 {
		t.Errorf("the PodMonitor asks for %+v, and the pod listens on %+v", endpoint, port)
	}
	if job := pod.Labels[monitor.Spec.JobLabel]; !strings.Contains(job, "anycert") {
		t.Errorf("the job is called %q, and an alert looks for anycert", job)
	}
}

func TestImage(t *testing.T) {
	for set, want := range map[string]string{
		"hub":      "registry.example.com/anycert@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
		"existing": "registry.example.com/anycert:v1",
	} {
		if m := render(t, values(t, set)); !strings.Contains(string(m["Deployment anycert/anycert"])+string(m["Deployment anycert/certificates"]), `image: "`+want+`"`) {
			t.Errorf("values %q: the image is not %s", set, want)
		}
	}
}

// Names may look like numbers and like words of YAML: Kubernetes takes them, and they
// are texts all the same. Large numbers stay numbers.
func TestNamesThatLookLikeSomethingElse(t *testing.T) {
	m := render(t, `
image: {repository: registry.example.com/anycert, pullSecrets: [{name: "6"}]}
fullnameOverride: "123"
nameOverride: "off"
serviceAccount: {name: "1e3"}
priorityClassName: "9"
vault: {tokenSeconds: 1000000}
credentials: {a: {secret: "4", keys: ["1", "no"]}, "2": {secret: "null"}}
trust: {b: {configMap: "5", keys: ["2"]}}
podMonitor: {enabled: true, interval: 30s}
networkPolicy: {enabled: true, metricsFrom: [{}]}
prometheusRule: {enabled: true}
config:
  version: 1
  owner: "1"
  store: {vault: {address: "https://vault.example.com:8200", auth: {method: kubernetes, role: "2"}}}
  certificates: [{name: "7", domains: [example.com]}]
  sinks:
    - {name: here, type: kubernetes, certificates: ["7"], config: {in_cluster: true, namespaces: ["123", "no"], secret: "{{ .Name }}"}}
`)
	deployment := get[appsv1.Deployment](t, m, "Deployment anycert/123")
	spec := deployment.Spec.Template.Spec
	if got := spec.ServiceAccountName + " " + spec.PriorityClassName + " " + deployment.Labels["app.kubernetes.io/name"]; got != "1e3 9 off" {
		t.Errorf("account, class and label are %s", got)
	}
	for _, volume := range spec.Volumes {
		switch {
		case volume.Name == "credentials-a" && (volume.Secret.SecretName != "4" || volume.Secret.Items[1] != corev1.KeyToPath{Key: "no", Path: "no"}):
			t.Errorf("%v", volume.Secret)
		case volume.Name == "credentials-2" && volume.Secret.SecretName != "null":
			t.Errorf("%v", volume.Secret)
		case volume.Name == "trust-b" && volume.ConfigMap.Name != "5":
			t.Errorf("%v", volume.ConfigMap)
		case volume.Name == "vault-token" && *volume.Projected.Sources[0].ServiceAccountToken.ExpirationSeconds != 1000000:
			t.Errorf("%v", volume.Projected)
		}
	}
	for _, namespace := range []string{"123", "no"} {
		role, binding := get[rbacv1.Role](t, m, "Role "+namespace+"/123"), get[rbacv1.RoleBinding](t, m, "RoleBinding "+namespace+"/123")
		if role.Rules[0].ResourceNames[0] != "7" || binding.RoleRef.Name != "123" || binding.Subjects[0].Name != "1e3" {
			t.Errorf("%v %v", role, binding)
		}
	}
	get[corev1.ServiceAccount](t, m, "ServiceAccount anycert/1e3")
	get[corev1.ConfigMap](t, m, "ConfigMap anycert/123")
	get[networkingv1.NetworkPolicy](t, m, "NetworkPolicy anycert/123")
	existing := render(t, `{image: {repository: registry.example.com/anycert}, existingConfigMap: "123", serviceAccount: {create: false, name: "1"}, vault: {audience: ""}}`)
	if got := get[appsv1.Deployment](t, existing, "Deployment anycert/anycert").Spec.Template.Spec; got.Volumes[0].ConfigMap.Name != "123" || got.ServiceAccountName != "1" {
		t.Errorf("%v", got)
	}
}
