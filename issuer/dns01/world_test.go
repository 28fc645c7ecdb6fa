package dns01

import (
	"testing"

	"github.com/anycert/anycert/internal/testenv"
)

// startDNS starts a DNS server for example.com and example.org with CNAMEs, and
// returns its address.
func startDNS(t *testing.T, aliases map[string]string) string {
	t.Helper()
	server := testenv.DNS(t, "example.com", "example.org")
	for name, target := range aliases {
		if err := server.Add(name + " 60 IN CNAME " + target); err != nil {
			t.Fatal(err)
		}
	}
	return server.Addr
}
