package notify

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"

	"github.com/anycert/anycert"
)

// Probe tries whether a receiver can be told, and tells it nothing. Its secrets are read; an
// Alertmanager is asked for its status; of a webhook only the connection is made, since
// whatever is posted there may wake somebody.
func (r *Receiver) Probe(ctx context.Context) error {
	if m := r.alertmanager; m != nil {
		return m.authorized(ctx, func(head func(http.Header)) error {
			return m.to.ask(ctx, http.MethodGet, "api/v2/status", nil, head)
		})
	}
	if r.webhook.secret != nil {
		secret, err := r.webhook.secret.Secret(ctx)
		if err != nil {
			return err
		}
		if _, err := signingKey(secret); err != nil {
			return err
		}
	}
	return r.webhook.to.connect(ctx)
}

// connect makes a connection and gives it up. Where a proxy stands between, nothing is
// tried: it connects for requests alone.
func (e *endpoint) connect(ctx context.Context) error {
	to, err := e.address(ctx, e.path)
	if err != nil {
		return err
	}
	transport := e.client.Transport.(*http.Transport)
	if proxy, err := transport.Proxy(&http.Request{URL: to}); err != nil || proxy != nil {
		return err
	}
	port := to.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[to.Scheme]
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var dialer interface {
		DialContext(ctx context.Context, network, address string) (net.Conn, error)
	} = &net.Dialer{}
	if to.Scheme == "https" {
		dialer = &tls.Dialer{Config: transport.TLSClientConfig}
	}
	connection, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(to.Hostname(), port))
	if err != nil {
		return unreached(err)
	}
	return connection.Close()
}

var _ anycert.Prober = (*Receiver)(nil)
