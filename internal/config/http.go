package config

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/web"
)

// HTTP is the server for the status page, probes and metrics. The page is shown to this
// machine alone, unless token or proxy_header says who else may see it; probes and metrics
// are for machines, and open to whoever reaches the port.
type HTTP struct {
	// Listen is the address that it listens on, as HOST:PORT. Default:
	// 127.0.0.1:8080. Where the environment sets PORT, as Cloud Run does, it is
	// that port on every address instead.
	Listen string `yaml:"listen"`
	// Token opens the status page and its JSON: as `Authorization: Bearer …`, or as the
	// password to any user name, for which a browser asks. 16 characters at least; make
	// one with `openssl rand -hex 32`. One that was changed is read within ten minutes.
	Token anycert.Reference `yaml:"token"`
	// ProxyHeader is the header in which a proxy that identifies people says who is
	// asking, such as X-Forwarded-User. The proxy must take it out of what it is sent.
	ProxyHeader string `yaml:"proxy_header"`
	// Proxies are the addresses from which that header is believed, as in [10.1.2.3,
	// 10.4.0.0/16]. Default: those of this machine.
	Proxies []string `yaml:"proxies"`
	// Hosts are the names under which the status page is asked for, as in
	// [anycert.example.com], beside localhost and the address itself. What is asked for
	// under another is refused: a page elsewhere could have it read by its visitors.
	Hosts []string `yaml:"hosts"`
}

var (
	headerName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]*$`)
	hostName   = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]*[a-z0-9])?)(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)
)

// notIdentity are headers that everybody sends, or may.
var notIdentity = []string{"accept", "accept-encoding", "accept-language", "authorization", "connection", "cookie", "host", "referer", "user-agent",
	"x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"}

func (c *checks) http() {
	h := c.HTTP
	if text := checkListen(h.Listen); text != "" {
		c.add("http.listen", "%s", text)
	}
	switch {
	case h.ProxyHeader == "" && len(h.Proxies) > 0:
		c.add("http.proxies", "the header is missing in which they say who is asking: write proxy_header, as in X-Forwarded-User")
	case h.ProxyHeader == "":
	case !headerName.MatchString(h.ProxyHeader):
		c.add("http.proxy_header", "this is no name of a header: write one, as in X-Forwarded-User")
	case slices.Contains(notIdentity, strings.ToLower(h.ProxyHeader)):
		c.add("http.proxy_header", "this header says nothing about who is asking: write the one in which the proxy names the person, as in X-Forwarded-User")
	}
	for i, text := range h.Proxies {
		if prefix, err := parseProxy(text); err != nil {
			c.add(fmt.Sprintf("http.proxies[%d]", i), "this is no address: write one, or a range, as in 10.1.2.3 or 10.4.0.0/16")
		} else if prefix.Bits() == 0 {
			c.add(fmt.Sprintf("http.proxies[%d]", i), "these are all addresses: whoever is there could claim to be anybody, so name those of the proxy")
		}
	}
	for i, host := range h.Hosts {
		if !hostName.MatchString(host) {
			c.add(fmt.Sprintf("http.hosts[%d]", i), "this is no host name: write it in small letters, without https:// and port, as in anycert.example.com")
		}
	}
}

func checkListen(address string) string {
	if address == "" {
		return ""
	}
	_, port, err := net.SplitHostPort(address)
	if number, portErr := strconv.Atoi(port); err != nil || portErr != nil || number < 0 || number > 65535 {
		return "this is no address to listen on: write HOST:PORT, as in 127.0.0.1:8080"
	}
	return ""
}

// parseProxy reads an address, or a range of them.
func parseProxy(text string) (netip.Prefix, error) {
	if address, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(address.Unmap(), address.Unmap().BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, err
	}
	return prefix.Masked(), nil
}

// access tells who is shown the status page. Load has checked what is in it.
func (c *Config) access(credential func(anycert.Reference) anycert.Credential) web.Access {
	access := web.Access{Hosts: c.HTTP.Hosts, ProxyHeader: c.HTTP.ProxyHeader}
	if !c.HTTP.Token.IsZero() {
		access.Token = credential(c.HTTP.Token)
	}
	for _, text := range c.HTTP.Proxies {
		if prefix, err := parseProxy(text); err == nil {
			access.Proxies = append(access.Proxies, prefix)
		}
	}
	return access
}
