package acmeserver

import "crypto/x509"

// Revoked reports whether a certificate was revoked, and the code of the reason that was
// given (RFC 5280, section 5.3.1), 0 if none was.
func (s *Server) Revoked(certificate *x509.Certificate) (reason uint, revoked bool) {
	found := s.db.GetRevokedCertificateBySerial(certificate.SerialNumber)
	if found == nil {
		return 0, false
	}
	if found.Reason != nil {
		reason = *found.Reason
	}
	return reason, true
}
