// Package parts builds the real servers that the tests run against, once for a
// machine, and finds them again. Each is compiled from its released Go module
// through a small module of its own (the folders vault, kube and helm), so that
// nothing of them enters anycert's go.mod.
//
// Binaries are kept under the user's cache folder, in anycert-rig (or in
// $ANYCERT_RIG), in a folder named after everything that decides what is
// built: a fresh clone finds them, and a changed version is built anew.
package parts

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// ErrNotBuilt says that a real server is missing on this machine.
var ErrNotBuilt = errors.New("not built yet: run `make rig` (about 15 minutes the first time)")

// Part names a server or tool that is built.
type Part string

// The parts.
const (
	Vault         Part = "vault"
	Etcd          Part = "etcd"
	KubeAPIServer Part = "kube-apiserver"
	Kubectl       Part = "kubectl"
	Helm          Part = "helm"
)

// All lists the parts in the order in which they are built.
func All() []Part { return []Part{Vault, Etcd, KubeAPIServer, Kubectl, Helm} }

// recipe says how a part is built. Its fields are all that decide the result,
// beside the module's files and the Go version.
type recipe struct {
	module string   // folder beside this file
	pkg    string   // what to build there
	tags   string   // build tags
	vars   []string // package variables set by the linker
	usual  string   // how long a cold build takes on two cores, for people
}

func recipeOf(p Part) (recipe, error) {
	kube := []string{
		"k8s.io/component-base/version.gitVersion=v1.35.4",
		"k8s.io/component-base/version.gitMajor=1",
		"k8s.io/component-base/version.gitMinor=35",
		"k8s.io/component-base/version.gitTreeState=clean",
	}
	helm := []string{ // and the Kubernetes that `helm template` speaks of: its client-go's
		"helm.sh/helm/v3/internal/version.version=v3.19.0",
		"helm.sh/helm/v3/internal/version.metadata=",
		"helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1",
		"helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=34",
		"helm.sh/helm/v3/pkg/lint/rules.k8sVersionMajor=1",
		"helm.sh/helm/v3/pkg/lint/rules.k8sVersionMinor=34",
	}
	switch p {
	case Vault:
		return recipe{module: "vault", pkg: ".", tags: "minimal", usual: "8 minutes"}, nil
	case Etcd:
		return recipe{module: "kube", pkg: "go.etcd.io/etcd/server/v3", usual: "1 minute"}, nil
	case KubeAPIServer:
		return recipe{module: "kube", pkg: "k8s.io/kubernetes/cmd/kube-apiserver", vars: kube, usual: "5 minutes"}, nil
	case Kubectl:
		return recipe{module: "kube", pkg: "k8s.io/kubernetes/cmd/kubectl", vars: kube, usual: "1 minute"}, nil
	case Helm:
		return recipe{module: "helm", pkg: "helm.sh/helm/v3/cmd/helm", vars: helm, usual: "2 minutes"}, nil
	}
	return recipe{}, fmt.Errorf("the rig has no part %q, only %v", p, All())
}

// Path returns where the binary is or will be, built or not.
func Path(p Part) (string, error) {
	r, err := recipeOf(p)
	if err != nil {
		return "", err
	}
	base, err := cache()
	if err != nil {
		return "", err
	}
	module, err := moduleDir(r.module)
	if err != nil {
		return "", err
	}
	digest, err := r.digest(module)
	if err != nil {
		return "", err
	}
	return filepath.Join(base, string(p)+"-"+digest, string(p)), nil
}

// Find returns the path of a built part, or ErrNotBuilt.
func Find(p Part) (string, error) {
	path, err := Path(p)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("%s is %w", p, ErrNotBuilt)
	} else if err != nil {
		return "", fmt.Errorf("looking for %s: %w", p, err)
	}
	return path, nil
}

// digest is over everything that decides the binary.
func (r recipe) digest(module string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, runtime.Version(), runtime.GOOS, runtime.GOARCH, r.pkg, r.tags, r.vars)
	files, err := filepath.Glob(filepath.Join(module, "*.go"))
	if err != nil {
		return "", err
	}
	files = append(files, filepath.Join(module, "go.mod"))
	slices.Sort(files)
	for _, name := range files {
		file, err := os.Open(name)
		if err != nil {
			return "", fmt.Errorf("looking for a part of the rig: %w", err)
		}
		_, err = io.Copy(h, file)
		file.Close()
		if err != nil {
			return "", fmt.Errorf("looking for a part of the rig: %w", err)
		}
	}
	return hex.EncodeToString(h.Sum(nil))[:12], nil
}

// cache is the folder that holds one folder for each built part.
func cache() (string, error) {
	if dir := os.Getenv("ANYCERT_RIG"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("looking for the rig: %w: set ANYCERT_RIG to a folder", err)
	}
	return filepath.Join(dir, "anycert-rig"), nil
}

// Checkout finds the checkout of anycert that holds the working folder: a
// test's is its package, a command's is where one stands.
func Checkout() (dir string, err error) {
	start, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("looking for the checkout: %w", err)
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(text), "module github.com/anycert/anycert\n") {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("looking for the checkout: %s is not in one of anycert", start)
		}
	}
}

// moduleDir is the folder of a part's module.
func moduleDir(name string) (string, error) {
	checkout, err := Checkout()
	return filepath.Join(checkout, "internal", "testenv", "parts", name), err
}
