package vaultpki

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/anycert/anycert/internal/testenv/world"
)

// A compromised key is replaced everywhere, then revoked, which Vault does although it
// takes no reason, and destroyed in the store. A person may have a version revoked as
// well.
func TestRevoke(t *testing.T) {
	t.Parallel()
	o := open(t)
	o.shell("vault write pki/config/acme eab_policy=not-required")
	config := o.hub("hub", "internal", "vault-pki", o.issuer("vault-pki", "servers", ""))
	o.Kept(o.Report(0, config, "sync"))
	bad := o.Stored("internal")
	if o.revoked(bad) {
		t.Fatal("it is revoked from the beginning")
	}

	if got := o.Run(config, "renew", "internal", "--reason", "compromised"); got.Code != 0 {
		t.Error(got)
	}
	now := o.Stored("internal")
	o.inDirectory("internal")
	switch {
	case now.Version != 2 || string(now.Key) == string(bad.Key):
		t.Errorf("the store has version %d, want 2 with another key", now.Version)
	case !o.revoked(bad):
		t.Error("Vault's PKI has not revoked the certificate of the compromised key")
	case o.revoked(now):
		t.Error("Vault's PKI has revoked the new certificate")
	}
	versions, err := o.Vault.Client().KVv2("secret").GetVersionsAsList(t.Context(), "anycert/certs/internal")
	o.Must(err)
	if !versions[0].Destroyed {
		t.Error("the store still has the compromised key")
	}

	for range 2 { // the second time it is revoked already
		if got := o.Run(config, "revoke", "internal", "--reason", "superseded", "--yes", "--current"); got.Code != 0 {
			t.Error(got)
		}
	}
	if !o.revoked(now) {
		t.Error("Vault's PKI has not revoked what a person had revoked")
	}
}

// revoked asks Vault's PKI about a certificate of its own.
func (o *office) revoked(s world.Stored) bool {
	o.T.Helper()
	var serial []string
	for _, b := range s.Leaf.SerialNumber.Bytes() {
		serial = append(serial, fmt.Sprintf("%02x", b))
	}
	var answer struct {
		Data struct {
			RevocationTime int64 `json:"revocation_time"`
		}
	}
	o.Must(json.Unmarshal([]byte(o.shell("vault read -format=json pki/cert/"+strings.Join(serial, "-"))), &answer))
	return answer.Data.RevocationTime != 0
}
