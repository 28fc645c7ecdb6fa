package reconcile

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/anycert/anycert"
)

// stranded tells of each thing that people asked for and that nobody works on here, since
// the configuration has changed: a key that is known to others must not be forgotten.
func (h *Hub) stranded(truth Truth) (lines []string) {
	requests := h.requests()
	for _, name := range slices.Sorted(maps.Keys(requests)) {
		request := requests[name]
		if why := h.strands(name, request, truth[name]); why != "" {
			lines = append(lines, fmt.Sprintf("%s asked at %s for another certificate %s, and nobody works on that here: %s",
				cmp.Or(request.By, "somebody"), stamp(firstAsked(request)), name, why))
		}
	}
	return lines
}

// strands tells why nobody works on a request, and what to do; or "".
func (h *Hub) strands(name string, request anycert.Request, known Known) string {
	i := slices.IndexFunc(h.Certificates, func(c anycert.Certificate) bool { return c.Name == name })
	switch {
	case i < 0:
		return "this configuration has no certificate of that name, so unless another one has, declare it again until that is done, or delete " +
			anycert.KindRequest + "/" + name + " from the store"
	case h.Certificates[i].Suspended:
		return "it is suspended"
	case h.Certificates[i].Issuer == "" && (known.Entry == nil || known.Entry.Version <= request.Version):
		return "it has no issuer any more, so put another one into the store by `anycert import`, and what else was asked for is done then"
	}
	return ""
}
