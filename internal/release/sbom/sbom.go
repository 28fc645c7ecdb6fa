// Package sbom lists what a binary is made of, in CycloneDX (ECMA-424): the modules
// that the linker wrote into it, with their licences. It asks the binary, not go.mod,
// which also names what is for tests or for other systems.
package sbom

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"github.com/anycert/anycert/internal/release/build"
	"github.com/anycert/anycert/internal/release/licence"
)

// Write writes the bill of materials of a binary. It is the same whenever the binary
// is.
func Write(to io.Writer, binary *build.Binary, modules []licence.Module) error {
	data, err := os.ReadFile(binary.Path)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	licences := map[string][]string{}
	for _, module := range modules {
		licences[module.Path+"@"+module.Version] = module.IDs()
	}
	main := subject(binary, sum)
	parts := []cdx.Component{component("std", binary.Info.GoVersion, licences)}
	for _, module := range binary.Info.Deps {
		parts = append(parts, dependency(module, licences))
	}
	refs := make([]string, len(parts))
	for i, part := range parts {
		refs[i] = part.BOMRef
	}
	bom := cdx.NewBOM()
	bom.SerialNumber = serial(sum)
	bom.Metadata = &cdx.Metadata{Timestamp: binary.Time.Format(time.RFC3339), Component: &main}
	bom.Components = &parts
	bom.Dependencies = &[]cdx.Dependency{{Ref: main.BOMRef, Dependencies: &refs}}
	return cdx.NewBOMEncoder(to, cdx.BOMFileFormatJSON).SetPretty(true).EncodeVersion(bom, cdx.SpecVersion1_6)
}

// subject is the binary itself.
func subject(binary *build.Binary, sum [sha256.Size]byte) cdx.Component {
	main := component(binary.Info.Main.Path, binary.Version, map[string][]string{
		binary.Info.Main.Path + "@" + binary.Version: {"Apache-2.0"},
	})
	main.Type = cdx.ComponentTypeApplication
	main.Hashes = &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(sum[:])}}
	main.Properties = &[]cdx.Property{
		{Name: "platform", Value: binary.Platform.String()},
		{Name: "commit", Value: binary.Revision},
	}
	return main
}

func dependency(module *debug.Module, licences map[string][]string) cdx.Component {
	if module.Replace != nil {
		module = module.Replace
	}
	part := component(module.Path, module.Version, licences)
	part.Properties = &[]cdx.Property{{Name: "go.sum", Value: module.Sum}}
	return part
}

// component is a module, named as package URLs do
// (https://github.com/package-url/purl-spec).
func component(path, version string, licences map[string][]string) cdx.Component {
	purl := "pkg:golang/" + path + "@" + strings.ReplaceAll(strings.TrimPrefix(version, "go"), "+", "%2B")
	part := cdx.Component{BOMRef: purl, Type: cdx.ComponentTypeLibrary, Name: path, Version: version, PackageURL: purl}
	var choices cdx.Licenses
	for _, id := range licences[path+"@"+version] {
		choices = append(choices, cdx.LicenseChoice{License: &cdx.License{ID: id}})
	}
	if len(choices) > 0 {
		part.Licenses = &choices
	}
	return part
}

// serial is a UUID (RFC 9562, version 8) made of a digest, so that it is another one
// for every binary and no other for the same.
func serial(sum [sha256.Size]byte) string {
	id := sum[:16]
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}
