package licence

import (
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/google/licenseclassifier/v2/assets"
)

// identify names the licences in all files, by comparing them with the texts that
// SPDX knows.
func identify(modules []Module) error {
	classifier, err := assets.DefaultClassifier()
	if err != nil {
		return fmt.Errorf("loading the texts of known licences: %w", err)
	}
	known := map[[sha256.Size]byte][]string{} // many modules have the same text
	for i := range modules {
		for j := range modules[i].Files {
			file := &modules[i].Files[j]
			sum := sha256.Sum256(file.Text)
			ids, ok := known[sum]
			if !ok {
				for _, match := range classifier.Match(file.Text).Matches {
					if match.MatchType == "License" || match.MatchType == "Header" {
						ids = append(ids, match.Name)
					}
				}
				slices.Sort(ids)
				ids = slices.Compact(ids)
				known[sum] = ids
			}
			file.IDs = ids
		}
	}
	return nil
}
