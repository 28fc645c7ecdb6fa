//go:build linux

package leaks

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/anycert/anycert/internal/testenv/world"
)

// debugSwitch is a variable of the environment that makes some library say more.
type debugSwitch struct{ name, value, source string }

// switches are all that the libraries look up which are linked into anycert, and
// those that people set for the tools of the same houses.
var switches = []debugSwitch{
	{"GODEBUG", "http2debug=2,netdns=2", "net/http, golang.org/x/net/http2: headers and 256 bytes of each frame; net: how names are looked up"},
	{"DEBUG_HTTP2_GOROUTINES", "1", "net/http, golang.org/x/net/http2"},
	{"GOTRACEBACK", "all", "runtime"},
	{"SSLKEYLOGFILE", "/dev/stderr", "a habit of TLS libraries; crypto/tls does not look at it"},
	{"FASTLY_DEBUG_MODE", "true", "github.com/fastly/go-fastly: prints requests with their bodies"},
	{"FLY_FORCE_TRACE", "1", "github.com/superfly/fly-go"},
	{"FLY_LOG_LEVEL", "debug", "flyctl"},
	{"LOG_LEVEL", "debug", "flyctl"},
	{"DEBUG", "*", "flyctl, and a habit of others"},
	{"VAULT_LOG_LEVEL", "trace", "vault"},
	{"VAULT_LOG", "trace", "vault"},
	{"LEGO_DEBUG_CLIENT_VERBOSE_ERROR", "true", "lego, providers/dns/internal/errutils: URLs in errors"},
	{"LEGO_DEBUG_DNS_API_HTTP_CLIENT", "true", "lego, providers/dns/internal/clientdebug: prints requests with their bodies"},
	{"LINODE_DEBUG", "1", "github.com/linode/linodego: prints requests"},
	{"AZURE_SDK_GO_LOGGING", "all", "azure-sdk-for-go/sdk/internal/log: prints requests"},
	{"GOOGLE_SDK_GO_LOGGING_LEVEL", "debug", "github.com/googleapis/gax-go/internallog: prints requests"},
	{"GRPC_GO_LOG_SEVERITY_LEVEL", "info", "google.golang.org/grpc/grpclog"},
	{"GRPC_GO_LOG_VERBOSITY_LEVEL", "99", "google.golang.org/grpc/grpclog"},
	{"GRPC_GO_LOG_FORMATTER", "json", "google.golang.org/grpc/grpclog"},
	{"GRPC_BINARY_LOG_FILTER", "*", "google.golang.org/grpc/internal/binarylog: writes calls to a file in TMPDIR"},
	{"AWS_DEBUG", "true", "tools for AWS; aws-sdk-go-v2 looks up no such variable"},
	{"KUBE_LOG_LEVEL", "9", "tools for Kubernetes; klog has flags alone, which anycert does not take over"},
	{"KUBE_PATCH_CONVERSION_DETECTOR", "true", "k8s.io/apimachinery/pkg/runtime"},
	{"OTEL_LOG_LEVEL", "debug", "OpenTelemetry"},
	{"OTEL_TRACES_EXPORTER", "console", "OpenTelemetry"},
	{"GOPACKAGESDEBUG", "true", "golang.org/x/tools/go/packages, below fly-go"},
	{"GOPROTODEBUG", "nolazy", "google.golang.org/protobuf/internal/impl"},
	{"BASH_COMP_DEBUG_FILE", "/dev/stderr", "github.com/spf13/cobra: what completion is asked"},
}

// Variables that look like switches and are none.
var noSwitches = []string{
	"AWS_LOGIN_CACHE_DIRECTORY", // a place
	"_X_AMZN_TRACE_ID",          // an id that AWS Lambda sets
}

func environmentOf(switches []debugSwitch) (environment []string) {
	for _, s := range switches {
		environment = append(environment, s.name+"="+s.value)
	}
	return environment
}

var (
	lookup    = regexp.MustCompile(`os\.(?:Getenv|LookupEnv)\((?:"(\w+)"|(\w+))\)`)
	looksLike = regexp.MustCompile(`DEBUG|LOG|TRACE|VERBOSE`)
)

// TestEverySwitchIsKnown looks for switches in the sources of all that is linked
// into anycert, so that none of a library that is yet to come is forgotten.
func TestEverySwitchIsKnown(t *testing.T) {
	world.DependOnSources(t)
	known := slices.Clone(noSwitches)
	for _, s := range switches {
		known = append(known, s.name)
	}
	found := map[string]bool{}
	for _, dir := range linkedPackages(t) {
		for name, file := range lookedUpIn(t, dir) {
			found[name] = true
			if looksLike.MatchString(name) && !slices.Contains(known, name) {
				t.Errorf("%s looks up %s: add it to the switches, or to what is none", file, name)
			}
		}
	}
	for _, name := range []string{"FASTLY_DEBUG_MODE", "FLY_FORCE_TRACE", "LEGO_DEBUG_DNS_API_HTTP_CLIENT", "LINODE_DEBUG", "AZURE_SDK_GO_LOGGING", "GOOGLE_SDK_GO_LOGGING_LEVEL", "GODEBUG"} {
		if !found[name] {
			t.Errorf("nobody looks up %s: this test does not see what there is", name)
		}
	}
}

func linkedPackages(t *testing.T) (dirs []string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{if not .Standard}}{{.Dir}}{{end}}", "../../../cmd/anycert")
	cmd.Stderr = os.Stderr
	list, err := cmd.Output()
	must(t, err)
	for lines := bufio.NewScanner(bytes.NewReader(list)); lines.Scan(); {
		dirs = append(dirs, lines.Text())
	}
	return dirs
}

// lookedUpIn returns the variables that a package looks up, and where.
func lookedUpIn(t *testing.T, dir string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	must(t, err)
	found, constants := map[string]string{}, map[string]string{}
	var whole strings.Builder
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		must(t, err)
		whole.Write(text)
		for _, match := range lookup.FindAllSubmatch(text, -1) {
			if len(match[1]) > 0 {
				found[string(match[1])] = file
			} else {
				constants[string(match[2])] = file
			}
		}
	}
	for constant, file := range constants {
		value := regexp.MustCompile(`\b` + constant + `\s*(?:string)?\s*=\s*"(\w+)"`).FindStringSubmatch(whole.String())
		if value != nil { // else it is a parameter
			found[value[1]] = file
		}
	}
	return found
}
