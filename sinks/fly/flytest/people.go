package flytest

import (
	"slices"
	"time"
)

// ConfirmOwnership is the person adding the TXT record _fly-ownership.<hostname>
// with the app's value. A hostname and its wildcard share the record.
func (s *Server) ConfirmOwnership(appName, hostname string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.apps[appName].txt[ownershipName(hostname)] = true
}

// PointDNS is the person pointing the hostname's A, AAAA or CNAME record at the app.
// It does not prove the ownership of a wildcard.
func (s *Server) PointDNS(appName, hostname string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.apps[appName].pointed[hostname] = true
}

// lookUp asks the DNS for the ownership record, where Options say how.
func (s *Server) lookUp(host *host) {
	name := ownershipName(host.name)
	if s.options.TXT == nil || host.hasTXT() {
		return
	}
	if values, err := s.options.TXT(name); err == nil {
		host.app.txt[name] = slices.Contains(values, host.app.ownershipValue())
	}
}

// DeleteCustom is somebody else removing our certificate from a hostname. The
// hostname and Fly.io's own certificate stay.
func (s *Server) DeleteCustom(appName, hostname string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if host := s.host(appName, hostname); host != nil {
		host.custom, host.updated = nil, time.Now().UTC().Truncate(time.Second)
	}
}

// DeleteHostname is somebody else removing a hostname with all its certificates.
func (s *Server) DeleteHostname(appName, hostname string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if app := s.apps[appName]; app != nil {
		delete(app.hosts, hostname)
	}
}

// ReplaceCustom is somebody else importing another certificate, under the rules of
// the API.
func (s *Server) ReplaceCustom(appName, hostname string, fullchain, privateKey []byte) error {
	certificate, err := parseCertificate(hostname, string(fullchain), string(privateKey))
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.apps[appName].add(hostname).custom = certificate
	return nil
}

// AddOwn is Fly.io issuing a certificate of its own, beside ours.
func (s *Server) AddOwn(appName, hostname string, fullchain, privateKey []byte) error {
	certificate, err := parseCertificate(hostname, string(fullchain), string(privateKey))
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	host := s.apps[appName].add(hostname)
	host.own, host.acmeRequested = certificate, true
	return nil
}

// HasOwn reports whether Fly.io's own certificate is still there.
func (s *Server) HasOwn(appName, hostname string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	host := s.host(appName, hostname)
	return host != nil && host.own != nil
}
