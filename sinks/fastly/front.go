package fastly

import (
	"github.com/fastly/go-fastly/v9/fastly"

	"github.com/anycert/anycert"
)

var _ anycert.Fronted = (*Sink)(nil)

// Front is the domain of a target's activation: Fastly serves it to whoever its DNS
// record leads there.
func (s *Sink) Front(target anycert.Target) anycert.Front {
	p, err := s.placeOf(target)
	if err != nil {
		return anycert.Front{}
	}
	return anycert.Front{
		Names:  []string{p.domain},
		Public: "https://"+s.host == fastly.DefaultEndpoint,
		Keeper: "Fastly",
		Remedy: "look whether the DNS record of " + p.domain + " leads to the TLS configuration " + p.configuration +
			", and at its activation (https://manage.fastly.com/network/domains); what it took and does not serve within the hour is for Fastly's support",
	}
}
