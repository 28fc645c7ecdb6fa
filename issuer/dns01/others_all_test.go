//go:build alldns

package dns01

import (
	"os"
	"strings"
	"testing"

	"github.com/anycert/anycert"
)

// TestProviderByName makes one of lego's other providers twice, with different
// credentials, and looks that the environment is as it was.
func TestProviderByName(t *testing.T) {
	t.Setenv("DESEC_TOKEN", "of-the-process")
	t.Setenv("DESEC_TTL", "1") // lego would refuse it
	for _, token := range []string{"secret-1", "secret-2"} {
		config := Config{{Provider: "desec", Resolvers: []string{"192.0.2.53"},
			Settings: Settings{"DESEC_TOKEN": {Reference: anycert.Reference{Env: "X"}}, "DESEC_PROPAGATION_TIMEOUT": {Plain: "77"}}}}
		if problems := config.Check(); len(problems) > 0 {
			t.Fatalf("%+v", problems)
		}
		solver, err := config.Open(t.Context(), Env{Credential: func(anycert.Reference) anycert.Credential { return fixed(token) }, Locks: new(Locks)})
		if err != nil {
			t.Fatal(err)
		}
		if timeout, _ := solver.providers[0].pace(); timeout.Seconds() != 77 {
			t.Errorf("it waits %s", timeout)
		}
	}
	if os.Getenv("DESEC_TOKEN") != "of-the-process" || os.Getenv("DESEC_TTL") != "1" {
		t.Error("the environment was changed")
	}
	if _, set := os.LookupEnv("DESEC_PROPAGATION_TIMEOUT"); set {
		t.Error("a setting is left in the environment")
	}
}

func TestMissingSettingOfAnotherProviderIsNamed(t *testing.T) {
	t.Setenv("DESEC_TOKEN", "of-the-process")
	_, err := Config{{Provider: "desec", Resolvers: []string{"192.0.2.53"}}}.Open(t.Context(), Env{Locks: new(Locks)})
	if err == nil || !strings.Contains(err.Error(), "DESEC_TOKEN") {
		t.Errorf("got %v", err)
	}
}

func TestTableOfProviders(t *testing.T) {
	if n := len(Names()); n < 180 {
		t.Errorf("%d providers", n)
	}
	for name, settings := range legoTable {
		if name != "manual" && settings == "" {
			t.Errorf("%s has no settings", name)
		}
	}
}
