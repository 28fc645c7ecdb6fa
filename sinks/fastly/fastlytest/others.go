package fastlytest

import (
	"maps"
	"net/http"
	"slices"
	"time"
)

// subscription is one object under /tls/subscriptions: a certificate that Fastly
// itself obtains and renews. The stand-in obtains none.
type subscription struct {
	id, configuration, state string
	domains                  []string
	certificates             []string
	authorization            string // id of the one for the first domain
	created                  time.Time
}

func (p *subscription) resource() resource {
	return resource{
		ID: p.id, Type: "tls_subscription",
		Attributes: map[string]any{
			"certificate_authority": "certainly",
			"created_at":            timestamp(p.created),
			"state":                 p.state,
			"has_active_order":      p.state == "pending",
			"updated_at":            timestamp(p.created),
		},
		Relationships: map[string]any{
			"tls_authorizations": toMany("tls_authorization", []string{p.authorization}),
			"tls_certificates":   toMany("tls_certificate", p.certificates),
			"tls_domains":        toMany("tls_domain", p.domains),
			"common_name":        toOne("tls_domain", p.domains[0]),
			"tls_configuration":  toOne("tls_configuration", p.configuration),
		},
	}
}

func (s *Server) subscription(id string) *subscription {
	i := slices.IndexFunc(s.subscriptions, func(p *subscription) bool { return p.id == id })
	if i < 0 {
		return nil
	}
	return s.subscriptions[i]
}

func (s *Server) listSubscriptions(r incoming) answer {
	var all []resource
	for _, p := range s.subscriptions {
		if domain := r.filters.Get("filter[tls_domains.id]"); domain == "" || slices.Contains(p.domains, domain) {
			all = append(all, p.resource())
		}
	}
	return list(r, all, 100) // as recorded, not 20
}

func (s *Server) getSubscription(r incoming) answer {
	if p := s.subscription(r.id); p != nil {
		return one(http.StatusOK, p.resource())
	}
	return notFound("subscription")
}

func (s *Server) deleteSubscription(r incoming) answer {
	p := s.subscription(r.id)
	switch {
	case p == nil:
		return notFound("subscription")
	case slices.ContainsFunc(p.certificates, s.activated):
		return refuse(http.StatusBadRequest, "Can't delete subscription", "the subscription has active domains")
	}
	s.subscriptions = slices.DeleteFunc(s.subscriptions, func(p *subscription) bool { return p.id == r.id })
	return done()
}

// mutualAuthentication is one object under /tls/mutual_authentications.
type mutualAuthentication struct {
	id, name         string
	enforced         bool
	created, updated time.Time
}

func (s *Server) mutualResource(m *mutualAuthentication) resource {
	var used []string
	for _, a := range s.activations {
		if a.mutual == m.id {
			used = append(used, a.id)
		}
	}
	return resource{
		ID: m.id, Type: "mutual_authentication",
		Attributes: map[string]any{
			"created_at": timestamp(m.created),
			"enforced":   m.enforced,
			"name":       orNull(m.name),
			"updated_at": timestamp(m.updated),
		},
		Relationships: map[string]any{"tls_activations": toMany("tls_activation", used)},
	}
}

func (s *Server) mutualAuthentication(id string) *mutualAuthentication {
	i := slices.IndexFunc(s.mutual, func(m *mutualAuthentication) bool { return m.id == id })
	if i < 0 {
		return nil
	}
	return s.mutual[i]
}

func (s *Server) listMutual(r incoming) answer {
	var all []resource
	for _, m := range s.mutual {
		all = append(all, s.mutualResource(m))
	}
	return list(r, all, 100) // as recorded, not 20
}

func (s *Server) getMutual(r incoming) answer {
	if m := s.mutualAuthentication(r.id); m != nil {
		return one(http.StatusOK, s.mutualResource(m))
	}
	return notFound("mutual authentication")
}

func (s *Server) createMutual(r incoming) answer {
	const title = "Can't create mutual authentication"
	sent := r.body.Data.Attributes
	if r.body.Data.Type != "mutual_authentication" {
		return refuse(http.StatusBadRequest, title, "the type must be mutual_authentication")
	}
	if _, problem := parseChain(sent.CertBundle); problem != "" {
		return refuse(http.StatusBadRequest, title, problem)
	}
	m := &mutualAuthentication{id: newID(), name: sent.Name, enforced: sent.Enforced, created: now(), updated: now()}
	s.mutual = append(s.mutual, m)
	return one(http.StatusCreated, s.mutualResource(m))
}

func (s *Server) updateMutual(r incoming) answer {
	m := s.mutualAuthentication(r.id)
	if m == nil {
		return notFound("mutual authentication")
	}
	sent := r.body.Data.Attributes
	m.name, m.enforced, m.updated = sent.Name, sent.Enforced, now()
	return one(http.StatusOK, s.mutualResource(m))
}

func (s *Server) deleteMutual(r incoming) answer {
	switch {
	case s.mutualAuthentication(r.id) == nil:
		return notFound("mutual authentication")
	case slices.ContainsFunc(s.activations, func(a *activation) bool { return a.mutual == r.id }):
		return refuse(http.StatusBadRequest, "Can't delete mutual authentication", "it is used by an activation")
	}
	s.mutual = slices.DeleteFunc(s.mutual, func(m *mutualAuthentication) bool { return m.id == r.id })
	return done()
}

func (s *Server) getConfiguration(r incoming) answer {
	if !slices.Contains(s.options.Configurations, r.id) {
		return notFound("TLS configuration")
	}
	return one(http.StatusOK, resource{ID: r.id, Type: "tls_configuration", Attributes: map[string]any{
		"bulk":           false,
		"created_at":     timestamp(now()),
		"default":        r.id == s.options.Configurations[0],
		"http_protocols": []string{"http/1.1", "http/2"},
		"name":           "Configuration " + r.id,
		"tls_protocols":  []string{"1.2", "1.3"},
		"updated_at":     timestamp(now()),
	}})
}

// listDomains shows each domain with what it is on.
func (s *Server) listDomains(r incoming) answer {
	on := map[string]map[string][]string{} // domain, type, ids
	note := func(domain, kind, id string) {
		if on[domain] == nil {
			on[domain] = map[string][]string{}
		}
		on[domain][kind] = append(on[domain][kind], id)
	}
	for _, c := range s.certificates {
		for _, domain := range c.domains() {
			note(domain, "tls_certificate", c.id)
		}
	}
	for _, a := range s.activations {
		note(a.domain, "tls_activation", a.id)
	}
	for _, p := range s.subscriptions {
		for _, domain := range p.domains {
			note(domain, "tls_subscription", p.id)
		}
	}
	var all []resource
	for _, domain := range slices.Sorted(maps.Keys(on)) {
		if id := r.filters.Get("filter[tls_certificates.id]"); id != "" && !slices.Contains(on[domain]["tls_certificate"], id) {
			continue
		}
		relations := map[string]any{}
		for _, kind := range []string{"tls_activation", "tls_certificate", "tls_subscription"} {
			relations[kind+"s"] = toMany(kind, on[domain][kind])
		}
		all = append(all, resource{ID: domain, Type: "tls_domain", Relationships: relations})
	}
	return list(r, all, 20)
}
