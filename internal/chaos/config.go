package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// ways are the addresses that the daemon knows: each leads through the gate.
type ways struct{ acme, vault, fastly, dns, role string }

// config is the daemon's configuration.
func (w *world) config(to ways) string {
	var list strings.Builder
	names := declared()
	for _, name := range slices.Sorted(maps.Keys(names)) {
		fmt.Fprintf(&list, "  - {name: %s, domains: [\"%s\"], issuer: pebble}\n", name, strings.Join(names[name], `", "`))
	}
	return fmt.Sprintf(`version: 1
owner: chaos
store:
  vault: {address: %q, mount: %s, prefix: %s, auth: {method: approle, role_id: %q, secret_id: {file: %q}}}
issuers:
  - name: pebble
    directory: %q
    email: ops@example.com
    profile: default
    ca_bundle: %q
    dns:
      provider: rfc2136
      settings:
        DNSUPDATE_NAMESERVER: %q
        DNSUPDATE_TSIG_KEY: acme.
        DNSUPDATE_TSIG_ALGORITHM: hmac-sha256.
        DNSUPDATE_TSIG_SECRET: {file: %q}
        DNSUPDATE_POLLING_INTERVAL: 50ms
      resolvers: [%q]
      propagation: resolvers
certificates:
%ssinks:
  - {name: nginx, type: file, certificates: ["*"], config: {dir: %q}}
  - {name: edge, type: fastly, certificates: [%s], config: {token: {file: %q}, configurations: [%s], endpoint: %q}}
reconcile: {schedule: "@every 5s"}
http: {listen: "127.0.0.1:0"}
`, to.vault, mount, prefix, to.role, w.path("secret-id"), to.acme, w.path("ca.pem"), to.dns, w.path("tsig"), to.dns,
		&list, w.path("files"), strings.Join(slices.Sorted(maps.Keys(sold())), ", "), w.path("fastly"), edge, to.fastly)
}
