package topologies

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/testenv/nameserver"
	"github.com/anycert/anycert/issuer/dns01"
)

// net is a small Internet. Everything below the domain is served by one software, and
// where a topology has a second server, that is the other one.
type net struct {
	*nameserver.Net
	domain string // example.com with BIND, example.org with Knot
	dir    string
	roots  string // file with the CA's

	rootAddress     string // without the port
	mainAddress     string
	main, second    *nameserver.Server
	inside, outside *nameserver.Server // resolvers: ours, and the CA's
}

type start func(context.Context, string, nameserver.Options) (*nameserver.Server, error)

func newNet(t *testing.T, software string) *net {
	t.Helper()
	network, err := nameserver.NewNet()
	if err != nil {
		t.Fatal(err)
	}
	n := &net{Net: network, domain: "example.com", dir: t.TempDir()}
	first, other := start(nameserver.BIND), start(nameserver.Knot)
	if software == "Knot" {
		n.domain, first, other = "example.org", other, first
	}
	signed := n.signed(t)
	root, main, second, third, inside, outside := n.Next(), n.Next(), n.Next(), n.Next(), n.Next(), n.Next()

	n.run(t, nameserver.BIND, root, nameserver.Options{Zones: n.above(root, main, second, third)})
	n.rootAddress, n.mainAddress = root, main
	n.main = n.run(t, first, main, nameserver.Options{Zones: n.mainZones(main, second, third, signed)})
	n.second = n.run(t, other, second, nameserver.Options{Zones: []nameserver.Zone{
		{Name: n.at("delegated"), Records: slices.Concat(servers(second), delegation("dev", main))},
		{Name: n.at("stale"), From: n.At(main)},
	}})
	n.run(t, first, third, nameserver.Options{Zones: []nameserver.Zone{{Name: n.at("stale"), Records: servers(main, second, third)}}})
	n.inside = n.run(t, nameserver.BIND, inside, nameserver.Options{Root: root, Anchors: []string{signed.anchor}, Zones: []nameserver.Zone{
		{Name: n.at("split"), Records: []string{"@ IN NS inside", "inside IN A " + inside}},
	}})
	n.outside = n.run(t, nameserver.BIND, outside, nameserver.Options{Root: root})
	return n
}

func (n *net) run(t *testing.T, start start, address string, o nameserver.Options) *nameserver.Server {
	t.Helper()
	o.Addr = n.At(address)
	server, err := start(t.Context(), t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return server
}

// above are the root and what is delegated from there.
func (n *net) above(root, main, second, third string) []nameserver.Zone {
	top := n.domain[strings.Index(n.domain, ".")+1:]
	at := func(names ...string) []string {
		return append([]string{"@ IN NS root.", "root. IN A " + root}, names...)
	}
	var below []string
	for _, topology := range all() {
		addresses := []string{main}
		switch topology.id {
		case "delegated":
			addresses = []string{second}
		case "stale":
			addresses = []string{main, second, third}
		}
		below = append(below, delegation(topology.id, addresses...)...)
	}
	below = slices.Concat(below, delegation("challenges", main), delegation("closed", main))
	only := []string{"@ IN NS root."} // its address stands in the root
	return []nameserver.Zone{
		{Name: ".", Records: at(top+". IN NS root.", "com. IN NS root."), Closed: true},
		{Name: top, Records: append(only, n.domain+". IN NS root."), Closed: true},
		{Name: n.domain, Records: append(only, below...), Closed: true},
	}
}

func (n *net) mainZones(main, second, third string, signed signed) []nameserver.Zone {
	own := func(id string, records ...string) nameserver.Zone {
		return nameserver.Zone{Name: n.at(id), Records: append(servers(main), records...)}
	}
	alias, stale, broken, bogus := own("alias", "_acme-challenge IN CNAME alias."+n.at("challenges")+"."), own("stale"), own("servfail"), own("bogus")
	alias.Closed = true
	stale.Records, stale.Serial, stale.To = servers(main, second, third), 7, []string{n.At(second)}
	broken.Broken, broken.Closed = true, true
	bogus.Records, bogus.Closed = signed.records(main), true
	return []nameserver.Zone{
		own("dev.delegated"), alias, own("challenges"), stale, broken, bogus, own("split"), own("tsig"), own("both"), own("closed"),
		own("loop", "_acme-challenge IN CNAME hop", "hop IN CNAME _acme-challenge"),
		own("caa", `@ IN CAA 0 issue "ca.example.net"`, "www IN A 192.0.2.1"),
		own("wild", `@ IN CAA 0 issue "pebble.letsencrypt.org"`, `@ IN CAA 0 issuewild ";"`),
		own("star", "* IN CNAME edge.example.net."),
		own("cdn", "_acme-challenge IN CNAME abc123.fastly-validations.com."),
	}
}

// servers are the name servers of a zone, in the zone.
func servers(addresses ...string) (records []string) {
	for i, address := range addresses {
		records = append(records, fmt.Sprintf("@ IN NS ns%d", i+1), fmt.Sprintf("ns%d IN A %s", i+1, address))
	}
	return records
}

// delegation are the same in the zone above.
func delegation(id string, addresses ...string) (records []string) {
	for i, address := range addresses {
		records = append(records, fmt.Sprintf("%s IN NS ns%d.%s", id, i+1, id), fmt.Sprintf("ns%d.%s IN A %s", i+1, id, address))
	}
	return records
}

// at is the name of a topology's zone.
func (n *net) at(id string) string { return id + "." + n.domain }

// here is a name of the table in this world.
func (n *net) here(name string) string { return strings.ReplaceAll(name, "example.com", n.domain) }

func (n *net) file(name string, text []byte) string {
	path := filepath.Join(n.dir, name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		panic(err)
	}
	return path
}

// providers are where a topology's records are written.
func (n *net) providers(id string) dns01.Config {
	switch id {
	case "delegated":
		return dns01.Config{n.provider(n.second, "SECOND", n.at("delegated")), n.provider(n.main, "MAIN", n.at("dev.delegated"))}
	case "alias":
		return dns01.Config{n.provider(n.main, "MAIN", n.at("challenges"))}
	case "split":
		return dns01.Config{n.provider(n.inside, "INSIDE")}
	case "tsig":
		return dns01.Config{n.provider(n.main, "WRONG")}
	}
	return dns01.Config{n.provider(n.main, "MAIN")}
}

func (n *net) provider(server *nameserver.Server, secret string, zones ...string) dns01.Provider {
	return dns01.Provider{
		Provider: "rfc2136",
		Zones:    zones,
		Settings: dns01.Settings{
			"DNSUPDATE_NAMESERVER":          {Plain: server.Addr},
			"DNSUPDATE_TSIG_KEY":            {Plain: nameserver.KeyName},
			"DNSUPDATE_TSIG_ALGORITHM":      {Plain: nameserver.Algorithm},
			"DNSUPDATE_TSIG_SECRET":         {Reference: anycert.Reference{Env: secret}},
			"DNSUPDATE_POLLING_INTERVAL":    {Plain: "50ms"},
			"DNSUPDATE_PROPAGATION_TIMEOUT": {Plain: "3"},
		},
		Resolvers: []string{n.inside.Addr},
	}
}

// clean fails the test if a record is left at a name, at any server, also when those
// that transfer the zone had time to.
func (n *net) clean(t *testing.T, name string) {
	t.Helper()
	var left []string
	for begin := time.Now(); time.Since(begin) < 20*time.Second; time.Sleep(50 * time.Millisecond) {
		if left = n.left(t, name); len(left) == 0 {
			return
		}
	}
	t.Errorf("records are left: %q", left)
}

func (n *net) left(t *testing.T, name string) (left []string) {
	t.Helper()
	for _, server := range []*nameserver.Server{n.main, n.second, n.inside} {
		question := new(dns.Msg).SetQuestion(name+".", dns.TypeTXT)
		question.RecursionDesired = false
		reply, _, err := (&dns.Client{Timeout: 20 * time.Second}).Exchange(question, server.Addr)
		if err != nil {
			t.Fatal(err)
		}
		for _, rr := range reply.Answer {
			if _, is := rr.(*dns.TXT); is {
				left = append(left, server.Addr+" "+rr.String())
			}
		}
	}
	return left
}
