package wire

import (
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/anycert/anycert"
)

// kind is a kind of certificate that a client may understand alone.
type kind string

const (
	ec          kind = "EC"
	rsaKind     kind = "RSA"
	unnamedKind kind = "other"
)

// kindOfType is the kind of certificates with a type of key.
func kindOfType(t anycert.KeyType) kind {
	switch {
	case strings.HasPrefix(string(t), "ec"):
		return ec
	case strings.HasPrefix(string(t), "rsa"):
		return rsaKind
	}
	return ""
}

func kindOf(chain []*x509.Certificate) kind {
	switch chain[0].PublicKey.(type) {
	case *ecdsa.PublicKey:
		return ec
	case *rsa.PublicKey:
		return rsaKind
	}
	return unnamedKind
}

// suites are the cipher suites of TLS 1.2 for servers with certificates of a kind.
// Those of TLS 1.3 say nothing about certificates, and crypto/tls does not let a client
// choose the signatures that it understands.
func suites(k kind) (ids []uint16) {
	for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		if strings.Contains(suite.Name, "_ECDSA_") == (k == ec) && !strings.Contains(suite.Name, "_RC4_") {
			ids = append(ids, suite.ID)
		}
	}
	return ids
}

// shown is how a handshake ended.
type shown struct {
	chain []*x509.Certificate
	err   error
	at    time.Time
}

// errOneVersion is in the way of a client that wants certificates of one kind.
var errOneVersion = errors.New("it speaks TLS 1.3 alone, where a client cannot ask for one of a kind")

// or is what an address shows that showed s at first, and second to a client that
// understands the wanted kind alone. Who has none of that kind refuses that client.
func (s shown) or(second shown) shown {
	switch {
	case second.err == nil:
		return second
	case errors.Is(second.err, errOneVersion):
		return shown{at: s.at, err: fmt.Errorf("it shows a certificate with a key of type %s, and whether it has another for others cannot be seen: %w", kindOf(s.chain), errOneVersion)}
	}
	return s
}

// ask makes one handshake.
func (l *look) ask(ctx context.Context, q question) shown {
	l.mu.Lock()
	err := l.deaf[q.at]
	l.mu.Unlock()
	if err != nil {
		return shown{err: err}
	}
	conn, err := l.options.Dial(ctx, "tcp", q.at.String())
	if err != nil {
		err = connecting(ctx, err)
		l.mu.Lock()
		l.deaf[q.at] = err
		l.mu.Unlock()
		return shown{err: err}
	}
	defer conn.Close()
	return shake(ctx, conn, q)
}

// shake keeps what the server shows. A server that demands a certificate of its clients
// has shown its own before it refuses one who has none.
func shake(ctx context.Context, conn net.Conn, q question) shown {
	var (
		raw      [][]byte
		demanded bool
	)
	config := &tls.Config{
		ServerName:             q.name,
		MinVersion:             tls.VersionTLS12,
		InsecureSkipVerify:     true, // the chain is what is looked at, not what is relied on: nothing is sent
		SessionTicketsDisabled: true,
		VerifyPeerCertificate: func(certificates [][]byte, _ [][]*x509.Certificate) error {
			raw = certificates
			return nil
		},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			demanded = true
			return new(tls.Certificate), nil
		},
	}
	if q.kind != "" {
		config.MaxVersion, config.CipherSuites = tls.VersionTLS12, suites(q.kind)
	}
	client := tls.Client(conn, config)
	if err := client.HandshakeContext(ctx); err != nil && (!demanded || len(raw) == 0 || !remote(err)) {
		return shown{err: shaking(ctx, err, q)}
	}
	_ = conn.SetDeadline(time.Now().Add(time.Second)) // to say goodbye
	_ = client.Close()
	return parse(raw)
}

func parse(raw [][]byte) shown {
	if len(raw) > anycert.MaxChain {
		return shown{err: fmt.Errorf("it shows %d certificates, %d are looked at", len(raw), anycert.MaxChain)}
	}
	var chain []*x509.Certificate
	for _, der := range raw {
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			return shown{err: fmt.Errorf("it shows what is no certificate: %w", err)}
		}
		chain = append(chain, certificate)
	}
	if len(chain) == 0 {
		return shown{err: errors.New("it shows no certificate")}
	}
	return shown{chain: chain}
}

// remote reports whether the other side ended the handshake with an alert.
func remote(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error"
}

// connecting says why there is no connection, without the address: who reads it knows it.
func connecting(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EAFNOSUPPORT):
		return fmt.Errorf("%w: %w", anycert.ErrNoRoute, inner(err))
	case timedOut(ctx, err):
		return errors.New("no connection within the time limit")
	}
	return fmt.Errorf("no connection: %w", inner(err))
}

func shaking(ctx context.Context, err error, q question) error {
	switch {
	case q.kind != "" && remote(err) && strings.Contains(err.Error(), "protocol version"):
		return errOneVersion
	case timedOut(ctx, err):
		return errors.New("it took the connection, and did not shake hands within the time limit")
	case remote(err):
		return fmt.Errorf("it refused the handshake for this name: %w", inner(err))
	}
	return fmt.Errorf("no TLS handshake: %w", inner(err))
}

func timedOut(ctx context.Context, err error) bool {
	var network net.Error
	return ctx.Err() != nil || errors.As(err, &network) && network.Timeout()
}

// inner is an error of package net without "dial tcp ADDRESS: connect:".
func inner(err error) error {
	var op *net.OpError
	for errors.As(err, &op) && op.Err != nil {
		err = op.Err
	}
	var number syscall.Errno
	if errors.As(err, &number) {
		return number
	}
	return err
}
