package fastly

import (
	"fmt"

	"github.com/anycert/anycert"
)

var _ anycert.Grantor = (*Config)(nil)

// Grants tells the token that the account needs
// (https://www.fastly.com/documentation/reference/api/auth-tokens/). Fastly knows no
// scope for TLS alone: what limits the token is the user whose it is.
func (c *Config) Grants(to anycert.Grantee) (anycert.Grants, error) {
	switch {
	case to.Role.Pushes():
		return anycert.Grants(fmt.Sprintf(`# A token with the scope global, of a user made for anycert who may manage TLS and nothing else
# (or an automation token with TLS access): Fastly has no scope for TLS alone, and counts the limit
# of writes for each user. Give it no services and an end. anycert reads it from %s.
#   reads:  /tls/configurations, /tls/private_keys, /tls/certificates, /tls/activations, /tls/subscriptions
#   writes: /tls/private_keys, /tls/certificates, /tls/activations (it never deletes an activation)
`, c.Token)), nil
	case to.Role == anycert.Auditor:
		return anycert.Grants(fmt.Sprintf(`# A token with the scope global:read, of a user who may see TLS. anycert reads it from %s.
#   reads: /tls/private_keys, /tls/certificates, /tls/activations, /tls/subscriptions
`, c.Token)), nil
	}
	return "", nil
}
