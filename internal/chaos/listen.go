package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/anycert/anycert/internal/testenv/acmeserver"
	"github.com/anycert/anycert/internal/testenv/certs"
)

// listen serves on a loopback port, over TLS if there is an identity.
func (w *world) listen(handler http.Handler, identity *tls.Certificate) (address string, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0)} // clients die: that is no news
	w.closers = append(w.closers, func() { _ = server.Close() })
	if identity == nil {
		go func() { _ = server.Serve(listener) }() // ends with Close
		return listener.Addr().String(), nil
	}
	server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{*identity}}
	go func() { _ = server.ServeTLS(listener, "", "") }()
	return listener.Addr().String(), nil
}

func identityOf(authority *certs.CA) (*tls.Certificate, error) {
	pair, err := authority.Issue(certs.Options{Names: []string{"127.0.0.1"}})
	if err != nil {
		return nil, err
	}
	identity, err := tls.X509KeyPair(pair.ChainPEM, pair.KeyPEM)
	return &identity, err
}

func trusting(roots []byte) http.RoundTripper {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(roots)
	return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, MaxIdleConnsPerHost: 16}
}

// show opens what the judge reads: the CA's records, and the edge of Fastly, which
// serves each name as it was told to, be it a pair or not.
func (w *world) show() error {
	address, err := w.listen(http.HandlerFunc(w.serveRecords), nil)
	if err != nil {
		return err
	}
	w.records = "http://" + address
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{GetCertificate: w.served})
	if err != nil {
		return err
	}
	w.closers = append(w.closers, func() { _ = listener.Close() })
	w.shop = listener.Addr().String()
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return // closed
			}
			go func() {
				_ = connection.(*tls.Conn).Handshake()
				_ = connection.Close()
			}()
		}
	}()
	return nil
}

func (w *world) serveRecords(out http.ResponseWriter, _ *http.Request) {
	type record struct {
		ID          string
		Time        time.Time
		Names       []string
		Certificate []byte
		Due         time.Time
	}
	records := []record{}
	for _, o := range w.acme.Orders() {
		r := record{ID: o.ID, Time: o.Time, Names: o.Names}
		if o.Certificate != nil {
			r.Certificate, r.Due = o.Certificate.Raw, due(o.Certificate)
		}
		records = append(records, r)
	}
	_ = json.NewEncoder(out).Encode(records) // the judge complains
}

var errNotServed = errors.New("nothing is served for this name")

func (w *world) served(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	_, parent, _ := strings.Cut(hello.ServerName, ".")
	for _, domain := range []string{hello.ServerName, "*." + parent} {
		chain, key := w.fastly.Served(edge, domain)
		if len(chain) == 0 {
			continue
		}
		return unchecked(chain, key)
	}
	return nil, errNotServed
}

// unchecked puts certificate and key together as a server does that looks at neither.
func unchecked(chain, key []byte) (*tls.Certificate, error) {
	block, _ := pem.Decode(key)
	if block == nil {
		return nil, errNotServed
	}
	signer, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	together := &tls.Certificate{PrivateKey: signer}
	for block, rest := pem.Decode(chain); block != nil; block, rest = pem.Decode(rest) {
		together.Certificate = append(together.Certificate, block.Bytes)
	}
	return together, err
}

// due is when the CA advises to renew a certificate: of those that live for long, at the
// half.
func due(leaf *x509.Certificate) time.Time {
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	if life > lifetime {
		return leaf.NotBefore.Add(life / 2)
	}
	return leaf.NotBefore.Add(dueAfter)
}

// advise has the CA say so to whoever asks.
func (w *world) advise(_ http.ResponseWriter, r *http.Request) (answered bool) {
	if acmeserver.KindOf(r) != acmeserver.KindRenewalInfo {
		return false
	}
	_, serial, _ := strings.Cut(path.Base(r.URL.Path), ".") // RFC 9773, section 4.1
	number, err := base64.RawURLEncoding.DecodeString(serial)
	if err != nil {
		return false
	}
	for _, leaf := range w.acme.Certificates() {
		if leaf.SerialNumber.Cmp(new(big.Int).SetBytes(number)) == 0 {
			_ = w.acme.SetRenewalInfo(leaf, due(leaf), due(leaf).Add(time.Second), "")
		}
	}
	return false
}
