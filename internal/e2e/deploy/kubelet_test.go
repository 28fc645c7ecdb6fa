//go:build linux

package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/anycert/anycert/internal/testenv/kubeserver"
	"github.com/anycert/anycert/internal/testenv/process"
	"github.com/anycert/anycert/internal/testenv/world"
)

// kubelet runs a pod of a Deployment on this machine: its files, user, environment and
// probes are those that the API server knows. The image is the binary alone.
type kubelet struct {
	ctx    context.Context
	server *kubeserver.Server
	api    kubernetes.Interface
	binary string
	dir    string
}

// running is the pod's only container.
type running struct {
	*process.Process
	port corev1.ContainerPort
}

func newKubelet(w *world.World, cluster string) *kubelet {
	w.T.Helper()
	if os.Geteuid() != 0 {
		w.T.Fatal("this test makes a container, which root alone may: run it as root")
	}
	return &kubelet{ctx: w.T.Context(), server: w.Clusters[cluster], api: w.Clusters[cluster].Client(),
		binary: w.Binary, dir: w.T.TempDir()}
}

// admit creates a pod of the Deployment, which the API server may refuse.
func (k *kubelet) admit(d *appsv1.Deployment) (*corev1.Pod, error) {
	pod := &corev1.Pod{ObjectMeta: *d.Spec.Template.ObjectMeta.DeepCopy(), Spec: *d.Spec.Template.Spec.DeepCopy()}
	pod.GenerateName = d.Name + "-"
	return k.api.CoreV1().Pods(d.Namespace).Create(k.ctx, pod, metav1.CreateOptions{})
}

// deployment is one of the namespace anycert.
func (k *kubelet) deployment(t *testing.T, name string) *appsv1.Deployment {
	t.Helper()
	d, err := k.api.AppsV1().Deployments("anycert").Get(k.ctx, name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// tellAvailable writes what the controller of Deployments would, once the pod is ready.
func (k *kubelet) tellAvailable(t *testing.T, d *appsv1.Deployment) {
	t.Helper()
	d = d.DeepCopy()
	d.Status = appsv1.DeploymentStatus{ObservedGeneration: d.Generation, Replicas: 1, UpdatedReplicas: 1, ReadyReplicas: 1, AvailableReplicas: 1}
	if _, err := k.api.AppsV1().Deployments(d.Namespace).UpdateStatus(k.ctx, d, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// run starts the pod's container. Its end is the test's.
func (k *kubelet) run(t *testing.T, pod *corev1.Pod) (*running, error) {
	c, err := k.container(pod)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(k.dir, "container.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	started, err := process.Start(process.Spec{Name: "anycert", Path: self, Args: []string{containArgument, file}, Dir: k.dir})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() {
		started.Kill()
		if log, err := started.Log(); t.Failed() {
			t.Logf("the container's log (%v):\n%s", err, log)
		}
	})
	return &running{started, pod.Spec.Containers[0].Ports[0]}, nil
}

func (k *kubelet) container(pod *corev1.Pod) (*container, error) {
	spec, security := pod.Spec.Containers[0], pod.Spec.SecurityContext
	c := &container{
		Root: filepath.Join(k.dir, "root"), Mounts: map[string]string{},
		UID: int(*security.RunAsUser), GID: int(*security.RunAsGroup), Groups: []int{int(*security.FSGroup)},
		Args: append([]string{"/anycert"}, spec.Args...), // the image's entrypoint
	}
	if err := k.unpack(c.Root); err != nil {
		return nil, err
	}
	volumes := map[string]string{}
	for _, v := range pod.Spec.Volumes {
		dir, err := k.volume(pod, v)
		if err != nil {
			return nil, err
		}
		volumes[v.Name] = dir
	}
	for _, mount := range spec.VolumeMounts {
		c.Mounts[mount.MountPath] = volumes[mount.Name]
		if err := os.MkdirAll(filepath.Join(c.Root, mount.MountPath), 0o755); err != nil {
			return nil, err
		}
	}
	host, err := url.Parse(k.server.Host)
	if err != nil {
		return nil, err
	}
	c.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME=" + pod.Name,
		"KUBERNETES_SERVICE_HOST=" + host.Hostname(), "KUBERNETES_SERVICE_PORT=" + host.Port()}
	for _, variable := range spec.Env {
		if variable.ValueFrom != nil {
			return nil, fmt.Errorf("this kubelet does not know where %s comes from", variable.Name)
		}
		c.Env = append(c.Env, variable.Name+"="+variable.Value)
	}
	return c, nil
}

// unpack writes the files of the image, and those that every runtime adds.
func (k *kubelet) unpack(root string) error {
	if err := errors.Join(os.MkdirAll(filepath.Join(root, "etc"), 0o755), os.MkdirAll(filepath.Join(root, "proc"), 0o755)); err != nil {
		return err
	}
	for _, name := range []string{"/etc/resolv.conf", "/etc/hosts"} {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(root, name), text, 0o644); err != nil {
			return err
		}
	}
	program, err := os.ReadFile(k.binary)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(root, "anycert"), program, 0o755)
}

// passes asks what a probe of the pod asks.
func (r *running) passes(p *corev1.Probe) func(context.Context) error {
	return func(ctx context.Context) error {
		if port := p.HTTPGet.Port.String(); port != r.port.Name {
			return fmt.Errorf("the probe asks the port %s, and the container names %s", port, r.port.Name)
		}
		status, body, err := r.get(ctx, p.HTTPGet.Path)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("%s: %d: %s", p.HTTPGet.Path, status, body)
		}
		return err
	}
}

func (r *running) get(ctx context.Context, path string) (status int, body string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", r.port.ContainerPort, path), nil)
	if err != nil {
		return 0, "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), err
}
