//go:build linux

// Package deploy shows that what is deployed works with what it is given, and with
// nothing else: the chart's manifests on a real kube-apiserver, and the shipped binary
// run as the kubelet would run its pod, with the pod's user, files, tokens and rights.
package deploy

import (
	"fmt"
	"os"
	"testing"

	"github.com/anycert/anycert/internal/testenv/world"
)

// TestMain also is the way into a container: see contain.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == containArgument {
		fmt.Fprintln(os.Stderr, "container:", contain(os.Args[2]))
		os.Exit(1)
	}
	os.Setenv("CGO_ENABLED", "0") // as in the image, which has no libraries
	world.Main(m)
}
