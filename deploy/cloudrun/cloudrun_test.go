// Package cloudrun holds the files for Cloud Run to what Google's API takes, and to
// what anycert does. Nothing is asked of Google.
package cloudrun

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/api/run/v1"
	"sigs.k8s.io/yaml"

	"github.com/anycert/anycert/internal/config"
	"github.com/anycert/anycert/internal/testenv/process"
	"github.com/anycert/anycert/internal/testenv/world"
)

func TestMain(m *testing.M) { world.Main(m) }

func TestService(t *testing.T) {
	var service run.Service
	decode(t, "service.yaml", "serving.knative.dev/v1", "Service", &service)
	template := service.Spec.Template
	accepts(t, "Service", service.Metadata.Annotations)
	accepts(t, "Revision", template.Metadata.Annotations)
	for name, want := range map[string]string{
		"autoscaling.knative.dev/minScale":         "1",
		"autoscaling.knative.dev/maxScale":         "1",
		"run.googleapis.com/cpu-throttling":        "false",
		"run.googleapis.com/execution-environment": "gen2",
	} {
		if got := template.Metadata.Annotations[name]; got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	container := checkSpec(t, template.Spec.ServiceAccountName, template.Spec.Containers, template.Spec.Volumes)
	for what, probe := range map[string]*run.Probe{"startup": container.StartupProbe, "liveness": container.LivenessProbe} {
		if probe == nil || probe.HttpGet == nil {
			t.Fatalf("there is no %s probe", what)
		}
		if probe.HttpGet.Path != "/health/live" {
			t.Errorf("the %s probe asks %s: only a loop that stands still is a reason to restart", what, probe.HttpGet.Path)
		}
		if probe.TimeoutSeconds > probe.PeriodSeconds {
			t.Errorf("the %s probe waits longer than it takes to the next", what)
		}
	}
	isServed(t, container.StartupProbe.HttpGet.Path, container.LivenessProbe.HttpGet.Path)
}

func TestWorkerPool(t *testing.T) {
	var pool run.WorkerPool
	decode(t, "workerpool.yaml", "run.googleapis.com/v1", "WorkerPool", &pool)
	spec := pool.Spec.Template.Spec
	if container := checkSpec(t, spec.ServiceAccountName, spec.Containers, spec.Volumes); len(container.Ports) > 0 {
		t.Error("a worker pool has no port")
	}
}

func TestJob(t *testing.T) {
	var job run.Job
	decode(t, "job.yaml", "run.googleapis.com/v1", "Job", &job)
	execution := job.Spec.Template
	accepts(t, "Execution", execution.Metadata.Annotations)
	if execution.Spec.TaskCount != 1 || execution.Spec.Parallelism != 1 {
		t.Error("a pass is one task")
	}
	task := execution.Spec.Template.Spec
	if container := checkSpec(t, task.ServiceAccountName, task.Containers, task.Volumes); container.Args[0] != "sync" {
		t.Errorf("the job runs %q", container.Args)
	}
}

// decode reads a file into the type of Google's client. A field that the type does
// not have is a mistake.
func decode(t *testing.T, name, version, kind string, into any) {
	t.Helper()
	text, err := os.ReadFile(name)
	must(t, err)
	asJSON, err := yaml.YAMLToJSONStrict(text)
	must(t, err)
	var head struct{ APIVersion, Kind string }
	must(t, json.Unmarshal(asJSON, &head))
	if head.APIVersion != version || head.Kind != kind {
		t.Errorf("%s is a %s of %s", name, head.Kind, head.APIVersion)
	}
	decoder := json.NewDecoder(bytes.NewReader(asJSON))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// accepts holds annotations against the list that Google's client has in the comment
// on ObjectMeta: what is accepted, and for what.
func accepts(t *testing.T, resource string, annotations map[string]string) {
	t.Helper()
	dir := strings.TrimSpace(command(t, "go", "list", "-f", "{{.Dir}}", "google.golang.org/api/run/v1"))
	source, err := os.ReadFile(filepath.Join(dir, "run-gen.go"))
	must(t, err)
	_, comment, _ := strings.Cut(string(source), "type ObjectMeta struct {")
	comment, _, _ = strings.Cut(comment, "Annotations map[string]string")
	comment = strings.Join(strings.Fields(strings.ReplaceAll(comment, "//", "")), " ")
	for name := range annotations {
		_, takers, ok := strings.Cut(comment, "`"+name+"`:")
		takers, _, _ = strings.Cut(takers, "`")
		if !ok || !strings.Contains(takers, resource) {
			t.Errorf("the annotation %s is accepted for %q, not for a %s", name, takers, resource)
		}
	}
}

// checkSpec checks what the three have in common, and returns the one container.
func checkSpec(t *testing.T, account string, containers []*run.Container, volumes []*run.Volume) *run.Container {
	t.Helper()
	if account != "anycert@PROJECT.iam.gserviceaccount.com" {
		t.Errorf("it runs as %q", account)
	}
	if len(containers) != 1 || len(volumes) != 1 || len(containers[0].VolumeMounts) != 1 || len(volumes[0].Secret.Items) != 1 {
		t.Fatal("want one container with one volume of one file")
	}
	container := containers[0]
	if len(container.Env) > 0 {
		t.Errorf("its environment has %d variables: the configuration says everything", len(container.Env))
	}
	mount := container.VolumeMounts[0]
	if mount.Name != volumes[0].Name {
		t.Errorf("the mount %s has no volume", mount.Name)
	}
	file := mount.MountPath + "/" + volumes[0].Secret.Items[0].Path
	if i := slices.Index(container.Args, "--config"); i < 0 || container.Args[i+1] != file {
		t.Errorf("%q does not read %s, where the configuration is mounted", container.Args, file)
	}
	anycertTakes(t, container.Args)
	return container
}

// anycertTakes runs a command of a file with the example configuration and --help,
// which fails for a verb or flag that is not there.
func anycertTakes(t *testing.T, args []string) {
	t.Helper()
	said := command(t, world.Binary(), append(slices.Clone(args), "--help")...)
	if !strings.Contains(said, "anycert "+args[0]) {
		t.Errorf("anycert %q is no verb", args[0])
	}
	for _, arg := range args {
		if strings.HasPrefix(arg, "--") && !strings.Contains(said, arg+" ") {
			t.Errorf("`anycert %s` has no flag %s", args[0], arg)
		}
	}
}

// isServed asks the probes' paths of a daemon that listens at PORT.
func isServed(t *testing.T, paths ...string) {
	t.Helper()
	port, err := process.FreePort()
	must(t, err)
	dir := t.TempDir()
	file := filepath.Join(dir, "config.yaml")
	must(t, os.WriteFile(file, fmt.Appendf(nil, `version: 1
owner: probed
store: {local: {path: %s}}
`, filepath.Join(dir, "anycert.db")), 0o600))
	daemon, err := process.Start(process.Spec{
		Name: "anycert", Path: world.Binary(), Args: []string{"run", "--config", file}, Dir: dir, Env: []string{fmt.Sprintf("PORT=%d", port)},
	})
	must(t, err)
	t.Cleanup(daemon.Stop)
	for _, path := range paths {
		must(t, daemon.WaitUntil(t.Context(), "answers "+path, func(context.Context) error {
			response, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d%s", port, path))
			if err != nil {
				return err
			}
			defer response.Body.Close()
			if response.StatusCode != http.StatusOK {
				return errors.New(response.Status)
			}
			return nil
		}))
	}
}

// The example has no mistake, logs in by Google's identity, and refers to Vault alone
// for what is secret.
func TestExample(t *testing.T) {
	loaded, err := config.Load("config.yaml")
	must(t, err)
	if method := loaded.Store.Vault.Auth.Method; method != "gcp" {
		t.Errorf("it logs in by %q", method)
	}
	text, err := os.ReadFile("config.yaml")
	must(t, err)
	for _, found := range regexp.MustCompile(`\{(env|file):`).FindAll(text, -1) {
		t.Errorf("%s…} would be a secret that is stored at Google", found)
	}
	for _, sink := range loaded.Sinks {
		if sink.Type == "file" {
			t.Error("there is no disk to write to")
		}
	}
}

// The commands of README.md name what the files name.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("README.md")
	must(t, err)
	for _, want := range []string{"replace service.yaml", "replace workerpool.yaml", "replace job.yaml", "gcloud secrets create anycert-config", "auth/gcp/role/anycert "} {
		if !strings.Contains(string(text), want) {
			t.Errorf("README.md does not say %q", want)
		}
	}
	for _, name := range []string{"service.yaml", "workerpool.yaml", "job.yaml"} {
		file, err := os.ReadFile(name)
		must(t, err)
		for _, placeholder := range []string{"PROJECT", "IMAGE"} {
			if !strings.Contains(string(file), placeholder) || !strings.Contains(string(text), "s|"+placeholder+"|$"+placeholder+"|g") {
				t.Errorf("%s in %s is not replaced", placeholder, name)
			}
		}
	}
}

func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return string(out)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
