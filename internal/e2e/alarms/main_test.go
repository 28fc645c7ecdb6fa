// Package alarms lets things go wrong around the shipped binary, and listens to what it
// tells: to a webhook that verifies each signature, and to the real Alertmanager.
package alarms

import (
	"testing"

	"github.com/anycert/anycert/internal/testenv/world"
)

func TestMain(m *testing.M) { world.Main(m) }
