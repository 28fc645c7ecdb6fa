package acmeserver

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"github.com/letsencrypt/pebble/v2/core"
)

// findReplaced lets Pebble find the certificate that a new order is to replace. It keeps
// orders by the bytes of the certificate's number, and looks for them by those of DER
// (RFC 9773, section 4.1), which one of 256 of its numbers begins with a zero in: it
// would answer serverInternal.
func (s *Server) findReplaced(r *http.Request) {
	body, err := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	if err != nil {
		return
	}
	var signed struct{ Payload string }
	var order struct{ Replaces string }
	payload := json.Unmarshal(body, &signed)
	text, encoding := base64.RawURLEncoding.DecodeString(signed.Payload)
	if payload != nil || encoding != nil || json.Unmarshal(text, &order) != nil {
		return
	}
	_, number, _ := strings.Cut(order.Replaces, ".")
	serial, err := base64.RawURLEncoding.DecodeString(number)
	if err != nil || len(serial) < 2 || serial[0] != 0 {
		return
	}
	if _, err := s.db.GetOrderByIssuedSerial(hex.EncodeToString(serial)); err == nil {
		return
	}
	kept, err := s.db.GetOrderByIssuedSerial(hex.EncodeToString(serial[1:]))
	if err != nil {
		return
	}
	kept.RLock()
	issued := *kept.CertificateObject
	issued.ID = hex.EncodeToString(serial)
	found := &core.Order{Order: kept.Order, ID: kept.ID, AccountID: kept.AccountID, Names: kept.Names,
		CertificateObject: &issued, IsReplaced: kept.IsReplaced}
	kept.RUnlock() // first: elsewhere the store's lock is taken before that of an order
	_ = s.db.AddOrderByIssuedSerial(found)
}
