package fastly_test

import (
	"strings"
	"testing"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/sinks/fastly"
	"github.com/anycert/anycert/sinks/sinktest"
)

// The world asks Fastly for the domain of a target; a stand-in's domains are not asked
// for in the world.
func TestFront(t *testing.T) {
	env := anycert.SinkEnv{Name: "edge", Owner: sinktest.Owner, Credential: func(anycert.Reference) anycert.Credential { return nil }}
	opened, err := (&fastly.Config{Token: anycert.Reference{Env: "TOKEN"}, Configurations: []string{"abc"}}).Open(env)
	if err != nil {
		t.Fatal(err)
	}
	sink := opened.(*fastly.Sink)
	front := sink.Front(targets(t, sink, domain)[0])
	if len(front.Names) != 1 || front.Names[0] != domain || !front.Public || front.Keeper != "Fastly" || !strings.Contains(front.Remedy, domain) {
		t.Errorf("%+v", front)
	}
	here := open(t, start(t), sinktest.Owner, nil)
	if front := here.Front(targets(t, here, domain)[0]); front.Public || len(front.Names) != 1 {
		t.Errorf("%+v", front)
	}
}

// Certificates of others for our names are listed, ours and those for other names not.
func TestLookalikes(t *testing.T) {
	server := start(t)
	sink := open(t, server, sinktest.Owner, nil)
	pass(t, sink, versions(t, both, 1)[0])
	stranger := versions(t, []string{domain}, 7)[0]
	theirs := foreign(t, server, stranger)
	foreign(t, server, versions(t, []string{"example.org"}, 8)[0])
	other := versions(t, []string{domain}, 9)[0]
	if _, err := server.AddCertificate(name(anycert.MarkOf("other-hub", other.Entry)), other.Bundle.FullChainPEM()); err != nil {
		t.Fatal(err)
	}
	before := len(server.Requests())
	found, err := sink.Lookalikes(t.Context(), both, nil)
	if err != nil || len(found) != 2 {
		t.Fatalf("%+v, %v", found, err)
	}
	for _, l := range found {
		hand := strings.Contains(l.Label, theirs) && strings.Contains(l.Label, "uploaded by hand") && l.Owner == "" && l.NotAfter.Equal(stranger.Bundle.Leaf().NotAfter)
		if !hand && l.Owner != "the hub other-hub" {
			t.Errorf("%+v", l)
		}
	}
	if got := writes(server, before); len(got) > 0 {
		t.Errorf("it wrote %q", got)
	}
}
