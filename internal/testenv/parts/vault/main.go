// Command vault is the real Vault server for the tests: the minimal build of
// the released module, with the Kubernetes auth method added back. It is built
// on the tester's machine and never shipped (Vault is under BUSL-1.1).
package main

import (
	"os"
	"reflect"
	"unsafe"

	credKubernetes "github.com/hashicorp/vault-plugin-auth-kubernetes"
	"github.com/hashicorp/vault/command"
	"github.com/hashicorp/vault/helper/builtinplugins"
	"github.com/hashicorp/vault/sdk/logical"
)

func main() {
	addCredential("kubernetes", credKubernetes.Factory)
	os.Exit(command.Run(os.Args[1:]))
}

// addCredential registers an auth method as built in. The minimal build leaves
// Kubernetes auth out, the full one costs ten times the packages, and the
// registry's map is unexported: hence reflect and unsafe. It panics when a
// later Vault names the field otherwise, which the rig's first test shows.
func addCredential(name string, factory logical.Factory) {
	field := reflect.ValueOf(builtinplugins.Registry).Elem().FieldByName("credentialBackends")
	backends := reflect.NewAt(field.Type(), unsafe.Pointer(field.UnsafeAddr())).Elem()
	backend := reflect.New(backends.Type().Elem()).Elem()
	backend.FieldByName("Factory").Set(reflect.ValueOf(factory))
	backends.SetMapIndex(reflect.ValueOf(name), backend)
}
