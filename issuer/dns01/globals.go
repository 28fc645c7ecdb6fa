package dns01

import (
	"io"
	"log"
	"os"
	"slices"
	"strconv"
	"sync"

	legodns01 "github.com/go-acme/lego/v4/challenge/dns01"
	legolog "github.com/go-acme/lego/v4/log"
)

// lego guards what lego keeps in variables of the process.
var lego = newLegoGlobals()

// legoGlobals lends lego's list of resolvers, and its switch for CNAMEs, to calls that want
// the same, and lets others wait. Without it, issuers with different resolvers would look
// names up in each other's world.
type legoGlobals struct {
	mu        sync.Mutex
	free      *sync.Cond
	resolvers []string
	follow    bool
	users     int
	quiet     sync.Once
}

func newLegoGlobals() *legoGlobals {
	g := &legoGlobals{}
	g.free = sync.NewCond(&g.mu)
	return g
}

// use makes lego ask resolvers, and follow CNAMEs or not, until release is called.
func (g *legoGlobals) use(resolvers []string, follow bool) (release func()) {
	g.silence()
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.users > 0 && (g.follow != follow || !slices.Equal(g.resolvers, resolvers)) {
		g.free.Wait()
	}
	g.follow = follow
	_ = os.Setenv("LEGO_DISABLE_CNAME_SUPPORT", strconv.FormatBool(!follow)) // fails for an empty name alone
	if !slices.Equal(g.resolvers, resolvers) {
		g.resolvers = slices.Clone(resolvers)
		_ = legodns01.AddRecursiveNameservers(g.resolvers)(nil) // sets the variable and returns nil
		legodns01.ClearFqdnCache()                              // of the zones that the others told of
	}
	g.users++
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.users--
		g.free.Broadcast()
	}
}

// silence stops lego's log, which goes to stderr unasked, and takes away the
// switches that make its providers print their requests, credentials among them. They
// are looked at when a provider is made or used, so they are gone for good.
func (g *legoGlobals) silence() {
	g.quiet.Do(func() { legolog.Logger = log.New(io.Discard, "", 0) })
	for _, name := range []string{"LEGO_DEBUG_DNS_API_HTTP_CLIENT", "LINODE_DEBUG"} {
		if _, set := os.LookupEnv(name); set {
			_ = os.Unsetenv(name) // fails for an empty name alone
		}
	}
}

// Silence stops lego from writing to stdout and stderr, whatever the environment
// says. It is called before lego is first used.
func Silence() { lego.silence() }
