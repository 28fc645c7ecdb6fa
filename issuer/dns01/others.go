//go:build !alldns

package dns01

// elsewhere ends the sentence that a provider is not known.
const elsewhere = " (lego's other providers are in a build with -tags alldns)"

// other finds a provider of lego that is not in every build.
func other(string) (spec, bool) { return spec{}, false }

func others() []string { return nil }
