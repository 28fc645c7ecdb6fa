// Package e2e proves the main job from one end to the other: the shipped binary
// between a real Vault, a real kube-apiserver, Pebble, a DNS server, the stand-ins
// for Fastly and Fly.io, and nginx. What a target holds is never asked of a sink:
// it is read by other clients, and by handshakes.
package e2e

import (
	"testing"

	"github.com/anycert/anycert/internal/testenv/world"
)

func TestMain(m *testing.M) { world.Main(m) }
