package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/anycert/anycert/internal/release/licence"
)

// showLicences lists every module with its licences, and fails on one that is not
// allowed.
func showLicences(ctx context.Context, j job) error {
	modules, err := j.linked(ctx)
	if err != nil {
		return err
	}
	for _, module := range modules {
		fmt.Fprintf(j.out, "%s %s: %s\n", module.Path, module.Version, strings.Join(module.IDs(), ", "))
	}
	return licence.Check(modules)
}

// authorities is where the CAs of the image come from.
const authorities = "golang.org/x/crypto/x509roots/fallback/bundle"

// linked are the modules that anycert is linked from on any platform, and the one
// that brings the image's CAs.
func (j job) linked(ctx context.Context) ([]licence.Module, error) {
	modules, err := licence.Linked(ctx, j.source, j.platforms, "./cmd/anycert")
	if err != nil {
		return nil, err
	}
	roots, err := licence.Linked(ctx, filepath.Join(j.source, "internal", "release"), j.platforms[:1], authorities)
	if err != nil {
		return nil, err
	}
	for _, module := range roots {
		if strings.HasPrefix(authorities, module.Path+"/") {
			modules = append(modules, module)
		}
	}
	slices.SortFunc(modules, func(a, b licence.Module) int { return strings.Compare(a.Path, b.Path) })
	return modules, nil
}
