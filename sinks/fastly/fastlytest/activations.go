package fastlytest

import (
	"net/http"
	"slices"
	"time"
)

// activation is one object under /tls/activations: a certificate serves a domain in
// a TLS configuration.
type activation struct {
	id, certificate, configuration, domain string
	mutual                                 string // id of the mutual authentication; empty for none
	created                                time.Time
}

func (a *activation) resource() resource {
	return resource{
		ID: a.id, Type: "tls_activation",
		Attributes: map[string]any{"created_at": timestamp(a.created)},
		Relationships: map[string]any{
			"tls_certificate":       toOne("tls_certificate", a.certificate),
			"tls_configuration":     toOne("tls_configuration", a.configuration),
			"tls_domain":            toOne("tls_domain", a.domain),
			"mutual_authentication": toOne("mutual_authentication", a.mutual),
		},
	}
}

func (s *Server) activation(id string) *activation {
	i := slices.IndexFunc(s.activations, func(a *activation) bool { return a.id == id })
	if i < 0 {
		return nil
	}
	return s.activations[i]
}

// at finds the activation of a domain in a configuration.
func (s *Server) at(configuration, domain string) *activation {
	i := slices.IndexFunc(s.activations, func(a *activation) bool {
		return a.configuration == configuration && a.domain == domain
	})
	if i < 0 {
		return nil
	}
	return s.activations[i]
}

func (s *Server) listActivations(r incoming) answer {
	var all []resource
	for _, a := range s.activations {
		wanted := true
		for filter, value := range map[string]string{
			"filter[tls_certificate.id]":   a.certificate,
			"filter[tls_configuration.id]": a.configuration,
			"filter[tls_domain.id]":        a.domain,
		} {
			want := r.filters.Get(filter)
			wanted = wanted && (want == "" || want == value)
		}
		if wanted {
			all = append(all, a.resource())
		}
	}
	return list(r, all, 20)
}

func (s *Server) getActivation(r incoming) answer {
	if a := s.activation(r.id); a != nil {
		return one(http.StatusOK, a.resource())
	}
	return notFound("activation")
}

func (s *Server) createActivation(r incoming) answer {
	const title = "Can't create activation"
	certificateID, _ := r.body.related("tls_certificate")
	domain, _ := r.body.related("tls_domain")
	configuration, _ := r.body.related("tls_configuration")
	if refusal := s.checkActivation(title, r.body, certificateID); refusal != nil {
		return *refusal
	}
	c := s.certificate(certificateID)
	switch {
	case domain == "":
		return refuse(http.StatusBadRequest, "Missing required attribute", "param is missing or the value is empty: tls_domain_id")
	case !slices.Contains(s.options.Configurations, configuration):
		return refuse(http.StatusBadRequest, title, "the TLS configuration does not exist")
	case !slices.Contains(c.domains(), domain):
		return refuse(http.StatusBadRequest, title, "the domain is not on the certificate")
	case s.at(configuration, domain) != nil:
		return refuse(http.StatusBadRequest, title, "the domain is already enabled in this TLS configuration")
	}
	a := &activation{id: newID(), certificate: certificateID, configuration: configuration, domain: domain, created: now()}
	s.activations = append(s.activations, a)
	return one(http.StatusCreated, a.resource())
}

func (s *Server) updateActivation(r incoming) answer {
	const title = "Can't update activation"
	a := s.activation(r.id)
	if a == nil {
		return notFound("activation")
	}
	if r.body.Data.ID != r.id {
		return refuse(http.StatusBadRequest, title, "the id in the body must be that of the path")
	}
	certificateID, _ := r.body.related("tls_certificate")
	if refusal := s.checkActivation(title, r.body, certificateID); refusal != nil {
		return *refusal
	}
	if !slices.Contains(s.certificate(certificateID).domains(), a.domain) {
		return refuse(http.StatusBadRequest, title, "the domain is not on the certificate")
	}
	// A relationship that is sent as null is taken away; one that is not sent stays.
	if mutual, sent := r.body.related("mutual_authentication"); sent {
		if mutual != "" && s.mutualAuthentication(mutual) == nil {
			return refuse(http.StatusBadRequest, title, "the mutual authentication does not exist")
		}
		a.mutual = mutual
	}
	a.certificate = certificateID
	return one(http.StatusOK, a.resource())
}

// checkActivation holds what both writes of an activation need.
func (s *Server) checkActivation(title string, body document, certificateID string) *answer {
	var refusal answer
	switch {
	case body.Data.Type != "tls_activation":
		refusal = refuse(http.StatusBadRequest, title, "the type must be tls_activation")
	case certificateID == "":
		refusal = refuse(http.StatusBadRequest, "Missing required attribute", "param is missing or the value is empty: tls_certificate_id")
	case s.certificate(certificateID) == nil:
		refusal = refuse(http.StatusBadRequest, title, "the certificate does not exist")
	default:
		return nil
	}
	return &refusal
}

func (s *Server) deleteActivation(r incoming) answer {
	if s.activation(r.id) == nil {
		return notFound("activation")
	}
	s.activations = slices.DeleteFunc(s.activations, func(a *activation) bool { return a.id == r.id })
	return done()
}
