package fly

import (
	"fmt"

	"github.com/anycert/anycert"
)

var _ anycert.Grantor = (*Config)(nil)

// Grants tells the token that the app needs. Fly.io knows none that may handle
// certificates alone.
func (c *Config) Grants(to anycert.Grantee) (anycert.Grants, error) {
	switch {
	case to.Role.Pushes():
		return anycert.Grants(fmt.Sprintf(`# A deploy token of the app %[1]s: the smallest that may import certificates. It reaches no other
# app, and lives for a year; make the next one in good time. anycert reads it from %[2]s.
fly tokens create deploy --app %[1]s --name anycert-%[3]s --expiry 8760h
`, c.App, c.Token, to.Owner)), nil
	case to.Role == anycert.Auditor:
		return anycert.Grants(fmt.Sprintf(`# A token that reads the organization of the app %[1]s and changes nothing. It reaches all apps there:
# Fly.io has no smaller one. anycert reads it from %[2]s.
fly tokens create readonly --name anycert-%[3]s-auditor --expiry 8760h
`, c.App, c.Token, to.Owner)), nil
	}
	return "", nil
}
