package config

import (
	"cmp"
	"fmt"
	"strconv"
)

// DefaultListen is where probes and metrics are served when nothing else is said.
const DefaultListen = "127.0.0.1:8080"

// listen is what is said about the address of the HTTP server.
type listen struct {
	file string // http.listen, or the default
	port string // PORT of the environment
}

func (c *Config) listen(options Options) listen {
	return listen{file: cmp.Or(c.HTTP.Listen, DefaultListen), port: options.getenv("PORT")}
}

// Listen is the address of a daemon's HTTP server, as HOST:PORT. A platform that sets
// PORT knocks there, whatever the file says, and not on loopback.
func (g *Graph) Listen() (string, error) {
	if g.listen.port == "" {
		return g.listen.file, nil
	}
	if number, err := strconv.ParseUint(g.listen.port, 10, 16); err != nil || number == 0 {
		return "", fmt.Errorf("the environment variable PORT is %q: it is the port to listen on, a number from 1 to 65535; unset it to listen on http.listen (%s)", g.listen.port, g.listen.file)
	}
	return ":" + g.listen.port, nil
}
