package web

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/anycert/anycert"
)

// Access tells who is shown the status page and its JSON. Health checks and metrics are
// for machines, and not concerned.
type Access struct {
	Hosts       []string           // names under which the page is asked for, beside those of this machine
	Token       anycert.Credential // whoever has it is let in; nil: none
	ProxyHeader string             // in which a proxy says whom it lets through; empty: none does
	Proxies     []netip.Prefix     // which proxies are believed; none: those on this machine
}

// asks reports whether anybody is asked who they are.
func (a *Access) asks() bool { return a.Token != nil || a.ProxyHeader != "" }

// Gate lets in whom its Access names. It is safe for concurrent use.
type Gate struct {
	local  bool // only this machine can connect
	access atomic.Pointer[Access]
	log    *slog.Logger

	mu   sync.Mutex
	said string // what was logged last
}

// NewGate makes the gate of a server that listens at address. Where that is this machine
// alone and access asks nobody, it is open: whoever is logged in here may look.
func NewGate(address net.Addr, access Access, log *slog.Logger) *Gate {
	bound, err := netip.ParseAddrPort(address.String())
	g := &Gate{local: err == nil && bound.Addr().IsLoopback(), log: log}
	g.Change(access)
	return g
}

// Change puts access in the place of the one before, from the next request on.
func (g *Gate) Change(access Access) { g.access.Store(&access) }

// refusal is an answer to somebody who is not let in.
type refusal struct {
	status int
	text   string
}

// guard lets nobody through to next whom the gate does not let in.
func (g *Gate) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		access := g.access.Load()
		no := access.host(r)
		if no == nil && (access.asks() || !g.local) {
			no = g.identify(access, r)
		}
		if no == nil {
			next.ServeHTTP(w, r)
			return
		}
		if no.status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", `Basic realm="anycert: any user name, the token as password", charset="UTF-8"`)
			w.Header().Add("WWW-Authenticate", `Bearer realm="anycert"`)
		}
		refuse(w, r, no.status, no.text)
	})
}

// host refuses a request for another host. A page elsewhere can give its own name our
// address, and its scripts then ask us in the name of who looks at it (DNS rebinding);
// what it cannot do is send another Host than that name. An address in the place of a name
// was typed by somebody.
func (a *Access) host(r *http.Request) *refusal {
	name := r.Host
	if host, _, err := net.SplitHostPort(name); err == nil {
		name = host
	}
	name = strings.ToLower(strings.TrimSuffix(strings.Trim(name, "[]"), "."))
	if name == "localhost" || slices.Contains(a.Hosts, name) {
		return nil
	}
	if address, err := netip.ParseAddr(name); err == nil && (address.IsLoopback() || address == connectedTo(r)) {
		return nil
	}
	return &refusal{http.StatusMisdirectedRequest,
		"the status page is not known under this host name: ask for it under another one, or add the name to http.hosts in the configuration"}
}

// connectedTo is the address of this machine at which a request came in.
func connectedTo(r *http.Request) netip.Addr {
	address, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if address == nil {
		return netip.Addr{}
	}
	return addressOf(address.String())
}

func addressOf(hostPort string) netip.Addr {
	parsed, _ := netip.ParseAddrPort(hostPort)
	return parsed.Addr().Unmap().WithZone("")
}

// identify refuses a request of which nobody says who makes it.
func (g *Gate) identify(a *Access, r *http.Request) *refusal {
	if a.ProxyHeader != "" && a.believes(addressOf(r.RemoteAddr)) && r.Header.Get(a.ProxyHeader) != "" {
		return nil
	}
	if a.Token != nil {
		return g.token(a.Token, r)
	}
	if a.ProxyHeader != "" {
		return &refusal{http.StatusForbidden,
			"the proxy has to say who is asking: it sets the header " + a.ProxyHeader + ", and its address is one of http.proxies in the configuration"}
	}
	return &refusal{http.StatusForbidden,
		"others than this machine can connect here, and nobody has said who may see the status page: set http.token or http.proxy_header in the configuration, and the name in http.hosts"}
}

func (a *Access) believes(proxy netip.Addr) bool {
	if len(a.Proxies) == 0 {
		return proxy.IsLoopback()
	}
	return slices.ContainsFunc(a.Proxies, func(p netip.Prefix) bool { return p.Contains(proxy) })
}

// token refuses a request that does not bring it: as a bearer, or as the password that a
// browser asks for.
func (g *Gate) token(kept anycert.Credential, r *http.Request) *refusal {
	given, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if _, password, ok := r.BasicAuth(); ok {
		given = password
	}
	secret, err := kept.Secret(r.Context())
	if err == nil && len(secret.Reveal()) < minToken {
		err = fmt.Errorf("%w: it is shorter than %d characters: make one with `openssl rand -hex 32`", anycert.ErrMalformed, minToken)
	}
	g.say(err)
	switch {
	case err != nil:
		return &refusal{http.StatusServiceUnavailable, "the token of the status page cannot be used: the log of anycert says why"}
	case given == "":
		return &refusal{http.StatusUnauthorized, "a token is wanted: send it as `Authorization: Bearer …`, or as the password to any user name; it is http.token in the configuration"}
	case !equal(given, secret.Reveal()):
		return &refusal{http.StatusUnauthorized, "this is not the token; one that was changed is read within ten minutes"}
	}
	return nil
}

// minToken is how long a token is at least, in bytes: what can be guessed is none.
const minToken = 16

// equal compares in a time that tells nothing about where two texts differ, or about how
// long the secret one is.
func equal(a, b string) bool {
	hashA, hashB := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(hashA[:], hashB[:]) == 1
}

// say logs why the token cannot be used, once.
func (g *Gate) say(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if text != g.said && err != nil {
		g.log.Error("the token of the status page cannot be used", "reason", err)
	}
	g.said = text
}
