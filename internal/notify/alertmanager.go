package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/reconcile"
)

// manager is an Alertmanager. It is told of states, not of events: which alarms are on, and which have ended
// a while ago. It knows itself what is new, also from several daemons.
type manager struct {
	to       *endpoint
	hub      string
	token    anycert.Credential // nil: none
	username string
	password anycert.Credential
}

const (
	refresh = time.Minute      // how often it is told what is on
	fading  = 10 * time.Minute // when an alarm that it is not told of any more is over
	echo    = 15 * time.Minute // for how long it is told that one has ended
)

// alert is of Alertmanager's API, version 2.
type alert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      time.Time         `json:"endsAt"`
}

// alerts are what there is to tell of a ledger. Two hubs with the same owner tell the same.
func alerts(l ledger, hub string, now time.Time) []alert {
	var all []alert
	for _, key := range slices.Sorted(maps.Keys(l.Alarms)) {
		switch e := l.Alarms[key]; {
		case e.Ended.IsZero():
			all = append(all, alertOf(e.Alarm, hub, now.Add(fading)))
			if e.Was != "" && e.Was != e.Alarm.Severity && now.Sub(e.Told) < echo {
				before := e.Alarm
				before.Severity = e.Was
				all = append(all, alertOf(before, hub, e.Told))
			}
		case now.Sub(e.Ended) < echo:
			all = append(all, alertOf(e.Alarm, hub, e.Ended))
		}
	}
	return all
}

func alertOf(a reconcile.Alarm, hub string, end time.Time) alert {
	labels := map[string]string{"alertname": alertName(a.Kind), "hub": hub, "severity": string(a.Severity), "certificate": a.Certificate, "sink": a.Sink}
	annotations := map[string]string{"summary": summary(a), "description": a.Text, "owner": a.Owner, "purpose": a.Description, "target": a.Target,
		"runbook_url": "https://github.com/anycert/anycert/blob/main/docs/alarms.md#" + string(a.Kind)}
	for _, texts := range []map[string]string{labels, annotations} {
		maps.DeleteFunc(texts, func(_, text string) bool { return text == "" })
	}
	return alert{labels, annotations, a.Since.UTC(), end.UTC()}
}

// alertName is AnycertRenewal for renewal.
func alertName(kind reconcile.AlarmKind) string {
	return "Anycert" + strings.ToUpper(string(kind[:1])) + string(kind[1:])
}

func summary(a reconcile.Alarm) string {
	switch a.Kind {
	case reconcile.RenewalAlarm:
		return "Certificate " + a.Certificate + " has no renewal that works"
	case reconcile.EntryAlarm:
		return "What the store holds of certificate " + a.Certificate + " cannot be used"
	case reconcile.PromiseAlarm:
		return "Certificate " + a.Certificate + " is not where it belongs at sink " + a.Sink
	case reconcile.WireAlarm:
		return "The world is served something else than certificate " + a.Certificate + " from sink " + a.Sink
	case reconcile.ContestedAlarm:
		return "Somebody keeps changing certificate " + a.Certificate + " back at sink " + a.Sink
	case reconcile.SinkAlarm:
		return "Sink " + a.Sink + " does not hold what it should"
	case reconcile.StoreAlarm:
		return "The store does not answer"
	case reconcile.ConfigurationAlarm:
		return "A changed configuration was not taken over"
	}
	return "There are more alarms than are told one by one"
}

// send tells all of alerts.
func (m *manager) send(ctx context.Context, alerts []alert) error {
	body, err := json.Marshal(alerts)
	if err != nil {
		return err
	}
	return m.authorized(ctx, func(head func(http.Header)) error { return m.to.post(ctx, body, head) })
}

// authorized calls do with what adds the credentials to a header.
func (m *manager) authorized(ctx context.Context, do func(head func(http.Header)) error) error {
	credential, head := m.token, func(secret string) string { return "Bearer " + secret }
	if m.password != nil {
		credential, head = m.password, func(secret string) string { return basic(m.username, secret) }
	}
	if credential == nil {
		return do(func(http.Header) {})
	}
	secret, err := credential.Secret(ctx)
	if err != nil {
		return fmt.Errorf("reading its token or password: %w", err)
	}
	err = do(func(h http.Header) { h.Set("Authorization", head(secret.Reveal())) })
	if refused := (refusal{}); errors.As(err, &refused) && (refused.status == http.StatusUnauthorized || refused.status == http.StatusForbidden) {
		credential.Refused()
	}
	return err
}

func basic(username, password string) string {
	request := http.Request{Header: http.Header{}}
	request.SetBasicAuth(username, password)
	return request.Header.Get("Authorization")
}
