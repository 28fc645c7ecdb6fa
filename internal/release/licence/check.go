package licence

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// allowed are the licences under which something may be linked into what is given
// away under Apache-2.0: they ask for their text to go with it, MPL-2.0 also for its
// own source, which is where the module's path leads.
var allowed = []string{
	"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MPL-2.0", "Unlicense", "Zlib",
}

// unlinked are licences of what lies beside linked code and is not linked itself, and
// why not. They are left out.
var unlinked = map[string]string{
	"std src/crypto/internal/boring/LICENSE": "BoringCrypto's object files, which only GOEXPERIMENT=boringcrypto links",
}

// Check tells of each module that may not be linked, by name: it has no licence,
// one that is not known, or one that is not allowed.
func Check(modules []Module) error {
	var problems []error
	for _, module := range modules {
		problem := func(format string, args ...any) {
			problems = append(problems, fmt.Errorf("%s %s: %s: use another module, or take the licence up in internal/release/licence/check.go",
				module.Path, module.Version, fmt.Sprintf(format, args...)))
		}
		ids := 0
		for _, file := range module.Files {
			ids += len(file.IDs)
			for _, id := range file.IDs {
				if !slices.Contains(allowed, id) {
					problem("%s holds the licence %s, which is not allowed", file.Name, id)
				}
			}
		}
		switch {
		case len(module.Files) == 0:
			problem("it has no licence")
		case ids == 0:
			problem("none of %s is a licence that is known", strings.Join(names(module.Files), ", "))
		}
	}
	return errors.Join(problems...)
}

func names(files []File) []string {
	var names []string
	for _, file := range files {
		names = append(names, file.Name)
	}
	return names
}
