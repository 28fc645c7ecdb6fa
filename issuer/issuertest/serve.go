package issuertest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/anycert/anycert/internal/testenv/acmeserver"
	"github.com/anycert/anycert/internal/testenv/calimits"
)

// answer is what a request led to.
type answer struct {
	status   int
	location string
	body     any // []byte is a chain; nil is nothing
}

// serve answers one request.
func (m *Model) serve(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.begin(); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	kind := acmeserver.KindOf(r)
	if r.Method == http.MethodPost || kind == acmeserver.KindNewNonce {
		nonce := rand.Text()
		m.nonces[nonce] = true
		w.Header().Set("Replay-Nonce", nonce)
	}
	made, err := m.answer(w, r, kind)
	if refused := (refusal{}); errors.As(err, &refused) {
		made = answer{status: refused.status, body: map[string]any{
			"type": "urn:ietf:params:acme:error:" + refused.kind, "detail": refused.detail, "status": refused.status}}
		w.Header().Set("Content-Type", "application/problem+json")
	} else if err != nil {
		made = answer{status: http.StatusInternalServerError}
	}
	if made.location != "" {
		w.Header().Set("Location", made.location)
	}
	w.WriteHeader(made.status)
	switch body := made.body.(type) {
	case nil:
	case []byte:
		_, _ = w.Write(body) // a recorder takes all
	default:
		_ = json.NewEncoder(w).Encode(body)
	}
}

func (m *Model) begin() (err error) {
	if m.authority != nil {
		return nil
	}
	m.nonces, m.accounts, m.orders = map[string]bool{}, map[string]*ecdsa.PublicKey{}, map[string]*order{}
	m.authz, m.issued, m.latest = map[string]*authorization{}, map[string]*issuedLeaf{}, map[string]*order{}
	m.authority, err = newAuthority(m.Now())
	return err
}

func (m *Model) answer(w http.ResponseWriter, r *http.Request, kind string) (answer, error) {
	switch kind {
	case acmeserver.KindDirectory:
		return answer{status: 200, body: map[string]any{
			"newNonce": Origin + "/nonce-plz", "newAccount": Origin + "/sign-me-up", "newOrder": Origin + "/order-plz",
			"revokeCert": Origin + "/revoke-cert", "renewalInfo": Origin + strings.TrimSuffix(acmeserver.RenewalInfoPath, "/"),
			"meta": map[string]any{"profiles": map[string]string{"default": "what there is"}}}}, nil
	case acmeserver.KindNewNonce:
		return answer{status: 200}, nil
	case acmeserver.KindRenewalInfo:
		return m.renewalInfo(w, path.Base(r.URL.Path), r)
	}
	if r.Method != http.MethodPost {
		return answer{}, refusal{405, "malformed", "POST is wanted"}
	}
	sent, err := m.open(r)
	if err != nil {
		return answer{}, err
	}
	name := path.Base(r.URL.Path)
	switch kind {
	case acmeserver.KindNewAccount:
		return m.newAccount(sent)
	case acmeserver.KindNewOrder:
		return m.newOrder(sent)
	case acmeserver.KindOrder, acmeserver.KindFinalize:
		o := m.orders[name]
		if o == nil || o.account != sent.account {
			return answer{}, refusal{404, "malformed", "no such order"}
		}
		if kind == acmeserver.KindFinalize {
			return m.finalize(o, sent)
		}
		return answer{status: 200, body: m.show(o)}, nil
	case acmeserver.KindAuthz:
		if a := m.authz[name]; a != nil {
			return answer{status: 200, body: a.show()}, nil
		}
	case acmeserver.KindChallenge:
		if a := m.authz[name]; a != nil {
			return m.validate(a)
		}
	case acmeserver.KindCertificate:
		if o := m.orders[name]; o != nil && o.chain != nil {
			w.Header().Set("Content-Type", "application/pem-certificate-chain")
			return answer{status: 200, body: o.chain}, nil
		}
	case acmeserver.KindRevoke:
		return m.revoke(sent)
	}
	return answer{}, refusal{404, "malformed", "there is nothing at " + r.URL.Path}
}

func (m *Model) renewalInfo(w http.ResponseWriter, id string, r *http.Request) (answer, error) {
	if r.UserAgent() != calimits.UserAgent { // who wants to know as well
		m.asked = append(m.asked, m.Now())
	}
	found := m.issued[id]
	if found == nil {
		return answer{}, refusal{404, "malformed", "no such certificate"}
	}
	start, end := m.window(found)
	if end.Before(start) {
		return answer{}, refusal{404, "malformed", "no advice"}
	}
	pause := m.RetryAfter
	if pause == 0 {
		pause = 6 * time.Hour
	}
	w.Header().Set("Retry-After", strconv.Itoa(int(pause/time.Second)))
	return answer{status: 200, body: map[string]any{"suggestedWindow": map[string]time.Time{"start": start.UTC(), "end": end.UTC()}}}, nil
}

func (m *Model) newAccount(sent message) (answer, error) {
	if sent.jwk == nil {
		return answer{}, refusal{400, "malformed", "no key"}
	}
	url := Origin + "/my-account/" + sent.jwk.thumbprint()
	if _, ok := m.accounts[url]; ok {
		return answer{status: 200, location: url, body: map[string]string{"status": "valid"}}, nil
	}
	var wanted struct{ OnlyReturnExisting bool }
	if json.Unmarshal(sent.payload, &wanted) != nil || wanted.OnlyReturnExisting {
		return answer{}, refusal{400, "accountDoesNotExist", "no account has this key"}
	}
	key, err := sent.jwk.key()
	m.accounts[url] = key
	return answer{status: 201, location: url, body: map[string]string{"status": "valid"}}, err
}

// newOrder makes an order, or returns the one that is open for the same names, as
// Boulder does.
func (m *Model) newOrder(sent message) (answer, error) {
	var wanted struct {
		Identifiers       []struct{ Value string }
		Profile, Replaces string
	}
	if json.Unmarshal(sent.payload, &wanted) != nil || len(wanted.Identifiers) == 0 {
		return answer{}, refusal{400, "malformed", "no identifiers"}
	}
	if wanted.Replaces != "" {
		old := m.issued[wanted.Replaces]
		switch {
		case old == nil || old.account != sent.account:
			return answer{}, refusal{404, "malformed", "no certificate of yours is " + wanted.Replaces}
		case old.replaced:
			return answer{}, refusal{409, "alreadyReplaced", "another certificate has replaced it"}
		}
	}
	o := &order{id: m.next("o"), account: sent.account, profile: wanted.Profile, replaces: wanted.Replaces, status: "pending", expires: m.Now().Add(7 * 24 * time.Hour)}
	for _, identifier := range wanted.Identifiers {
		o.names = append(o.names, identifier.Value)
	}
	slices.Sort(o.names)
	set := o.account + " " + strings.Join(o.names, " ")
	if open := m.latest[set]; open != nil && m.Now().Before(open.expires) {
		if shown := m.show(open); open.status == "pending" || open.status == "ready" {
			return answer{status: 201, location: Origin + "/my-order/" + open.id, body: shown}, nil
		}
	}
	m.latest[set] = o
	for _, name := range o.names {
		base, wildcard := strings.CutPrefix(name, "*.")
		a := &authorization{id: m.next("a"), account: o.account, token: rand.Text(), name: base, wildcard: wildcard, status: "pending"}
		m.authz[a.id], o.authz = a, append(o.authz, a)
	}
	m.orders[o.id], o.place = o, len(m.made)
	m.made = append(m.made, acmeserver.Order{ID: o.id, Time: m.Now(), Account: o.account, Names: o.names, Profile: o.profile, Replaces: o.replaces})
	return answer{status: 201, location: Origin + "/my-order/" + o.id, body: m.show(o)}, nil
}

// show is an order as clients see it, after its authorizations were looked at.
func (m *Model) show(o *order) map[string]any {
	proven := 0
	urls, identifiers := []string{}, []map[string]string{}
	for _, a := range o.authz {
		urls = append(urls, Origin+"/authZ/"+a.id)
		switch a.status {
		case "valid":
			proven++
		case "invalid":
			o.status = "invalid"
		}
	}
	if o.status == "pending" && proven == len(o.authz) {
		o.status = "ready"
	}
	for _, name := range o.names {
		identifiers = append(identifiers, map[string]string{"type": "dns", "value": name})
	}
	shown := map[string]any{"status": o.status, "expires": o.expires.UTC(), "identifiers": identifiers, "authorizations": urls, "finalize": Origin + "/finalize-order/" + o.id}
	if o.chain != nil {
		shown["certificate"] = Origin + "/certZ/" + o.id
	}
	return shown
}

func (a *authorization) show() map[string]any {
	challenge := map[string]any{"type": "dns-01", "status": a.status, "url": Origin + "/chalZ/" + a.id, "token": a.token}
	if a.problem != "" {
		challenge["error"] = map[string]any{"type": "urn:ietf:params:acme:error:unauthorized", "detail": a.problem, "status": 403}
	}
	return map[string]any{"status": a.status, "identifier": map[string]string{"type": "dns", "value": a.name}, "wildcard": a.wildcard, "challenges": []any{challenge}}
}

// validate looks at the DNS at once.
func (m *Model) validate(a *authorization) (answer, error) {
	if a.status == "pending" {
		a.status = "valid"
		thumbprint := path.Base(a.account)
		if err := m.DNS.check(a.name, a.token+"."+thumbprint); err != nil {
			a.status, a.problem = "invalid", err.Error()
			if m.Limits != nil {
				m.Limits.Failed("/authZ/"+a.id, a.account, a.name)
			}
		}
	}
	return answer{status: 200, body: a.show()["challenges"].([]any)[0]}, nil
}

func (m *Model) finalize(o *order, sent message) (answer, error) {
	m.show(o)
	if o.status != "ready" {
		return answer{}, refusal{403, "orderNotReady", "its status is " + o.status}
	}
	var wanted struct{ CSR string }
	if json.Unmarshal(sent.payload, &wanted) != nil {
		return answer{}, refusal{400, "malformed", "no CSR"}
	}
	der, err := base64.RawURLEncoding.DecodeString(wanted.CSR)
	if err != nil {
		return answer{}, refusal{400, "badCSR", "it is not base64url"}
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil || csr.CheckSignature() != nil || !slices.Equal(slices.Sorted(slices.Values(csr.DNSNames)), o.names) {
		return answer{}, refusal{400, "badCSR", "it is not for the order's names"}
	}
	leaf, err := m.issue(o, csr.PublicKey)
	if err != nil {
		return answer{}, err
	}
	var chain bytes.Buffer
	for _, certificate := range []*x509.Certificate{leaf, m.authority.certificate} {
		if err := pem.Encode(&chain, &pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw}); err != nil {
			return answer{}, err
		}
	}
	o.status, o.chain = "valid", chain.Bytes()
	m.made[o.place].Certificate = leaf
	m.issued[id(leaf)] = &issuedLeaf{leaf: leaf, account: o.account}
	if old := m.issued[o.replaces]; old != nil {
		old.replaced = true
	}
	return answer{status: 200, body: m.show(o)}, nil
}

func (m *Model) revoke(sent message) (answer, error) {
	var wanted struct{ Certificate string }
	if json.Unmarshal(sent.payload, &wanted) != nil {
		return answer{}, refusal{400, "malformed", "no certificate"}
	}
	der, err := base64.RawURLEncoding.DecodeString(wanted.Certificate)
	if err != nil {
		return answer{}, refusal{400, "malformed", "it is not base64url"}
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil || m.issued[id(leaf)] == nil {
		return answer{}, refusal{404, "malformed", "no such certificate"}
	}
	found := m.issued[id(leaf)]
	if found.revoked {
		return answer{}, refusal{400, "alreadyRevoked", "it is revoked"}
	}
	found.revoked = true
	return answer{status: 200}, nil
}
