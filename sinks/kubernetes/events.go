package kubernetes

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/anycert/anycert"
)

// eventWord is how an Event says in one word what it is about.
type eventWord struct{ kind, reason, action string }

// eventWords are the reasons that people filter by: kubectl get events
// --field-selector reason=Contested.
var eventWords = map[anycert.EventKind]eventWord{
	anycert.Pushed:    {corev1.EventTypeNormal, "Pushed", "Push"},
	anycert.Mended:    {corev1.EventTypeNormal, "Mended", "Mend"},
	anycert.Contested: {corev1.EventTypeWarning, "Contested", "Push"},
	anycert.Held:      {corev1.EventTypeWarning, "Held", "Hold"},
}

// Tell makes a Kubernetes Event about a Secret, where the right to it was given. What is
// told again about the same version within the hour is counted in that Event, every ten
// minutes at most; and a sink writes no more than a few Events a minute. A right that is
// missing is ErrForbidden, once for each namespace and ten minutes.
func (s *Sink) Tell(ctx context.Context, target anycert.Target, event anycert.Event) error {
	at, err := parseAddress(target.Label)
	word, known := eventWords[event.Kind]
	if err != nil || !known {
		return err
	}
	about := at.String() + " " + word.reason + " " + strconv.Itoa(event.Version)
	now := time.Now()
	said, write := s.voice.admit(at.namespace, about, now)
	if !write {
		return nil
	}
	made := &eventsv1.Event{
		TypeMeta:            metav1.TypeMeta{APIVersion: "events.k8s.io/v1", Kind: "Event"},
		ObjectMeta:          metav1.ObjectMeta{Namespace: at.namespace, Name: eventName(s.owner, at, about, said.first)},
		EventTime:           metav1.NewMicroTime(now),
		ReportingController: prefix,
		ReportingInstance:   s.manager,
		Type:                word.kind,
		Reason:              word.reason,
		Action:              word.action,
		Note:                note(target.Certificate, event),
	}
	if err := s.say(ctx, at, said, made); err != nil {
		s.voice.forget(about) // it is told when it comes up the next time
		return err
	}
	return nil
}

// say counts up an Event that was made before, or makes it.
func (s *Sink) say(ctx context.Context, at address, said saying, event *eventsv1.Event) error {
	now := event.EventTime.Time
	if said.count > 1 {
		err := s.cluster.repeatEvent(ctx, at, event.Name, said.count, now)
		if !apierrors.IsNotFound(err) { // else it has expired
			return s.heard(ctx, at, now, err)
		}
	}
	if err := s.mayTell(ctx, at, now); err != nil {
		return err
	}
	secret, err := s.cluster.get(ctx, at)
	if err != nil || secret == nil { // gone: there is nothing to speak about
		return err
	}
	event.Regarding = corev1.ObjectReference{APIVersion: "v1", Kind: "Secret", Namespace: at.namespace, Name: at.name, UID: secret.UID}
	return s.heard(ctx, at, now, s.cluster.createEvent(ctx, at, event))
}

// heard is what the API server's answer to an Event means.
func (s *Sink) heard(ctx context.Context, at address, now time.Time, err error) error {
	switch {
	case err == nil, apierrors.IsAlreadyExists(err): // another process says the same
		return nil
	case apierrors.IsForbidden(err):
		return s.silence(at, now)
	}
	return s.cluster.explain(ctx, request{"tell", at}, err)
}

// mayTell asks what we may do in a namespace, once in ten minutes: trying it would stand
// in the cluster's audit log as something that was denied.
func (s *Sink) mayTell(ctx context.Context, at address, now time.Time) error {
	if s.voice.mayTell(at.namespace, now) {
		return nil
	}
	rules, err := s.cluster.rules(ctx, at.namespace)
	if err != nil {
		return err
	}
	if !rules.tell() {
		return s.silence(at, now)
	}
	s.voice.allow(at.namespace, now)
	return nil
}

// silence notes that the right is missing, and is the error that says so.
func (s *Sink) silence(at address, now time.Time) error {
	s.voice.silence(at.namespace, now)
	return fmt.Errorf("writing an Event about Secret %s in %s: %w: where Events are wanted, a Role in namespace %s needs the rule %s, which `anycert policy` prints",
		at, s.cluster.server, anycert.ErrForbidden, at.namespace, eventRule)
}

// eventRule is the right that telling needs, for people.
const eventRule = `{apiGroups: [events.k8s.io], resources: [events], verbs: [create, patch]}`

// createEvent makes the first Event about something. Its name follows from what it is
// about and from the hour: another process that says the same is told that it is there.
func (c *cluster) createEvent(ctx context.Context, at address, event *eventsv1.Event) error {
	body, err := json.Marshal(event)
	if err != nil {
		return err
	}
	return c.api.Post().AbsPath(eventsPath(at.namespace)).
		SetHeader("Content-Type", "application/json").Body(body).MaxRetries(0).Do(quiet(ctx)).Error()
}

// repeatEvent counts in an Event how often its matter was seen.
func (c *cluster) repeatEvent(ctx context.Context, at address, name string, count int, now time.Time) error {
	body, err := json.Marshal(map[string]any{"series": eventsv1.EventSeries{Count: int32(min(count, math.MaxInt32)), LastObservedTime: metav1.NewMicroTime(now)}})
	if err != nil {
		return err
	}
	return c.api.Patch(types.MergePatchType).AbsPath(eventsPath(at.namespace), name).
		Body(body).MaxRetries(0).Do(quiet(ctx)).Error()
}

func eventsPath(namespace string) string {
	return "/apis/events.k8s.io/v1/namespaces/" + namespace + "/events"
}

// eventName is the same for everybody who says the same within an hour.
func eventName(owner string, at address, about string, first time.Time) string {
	sum := sha256.Sum256([]byte(owner + "\x00" + about + "\x00" + first.UTC().Truncate(voiceHour).Format(time.RFC3339)))
	const most = 200 // of 253: the rest is for what tells them apart
	return strings.TrimRight(at.name[:min(len(at.name), most)], ".-") + "." + hex.EncodeToString(sum[:8])
}

// maxNote is how long Kubernetes lets a note be, in bytes.
const maxNote = 1024

// note is the sentence of an Event. A part of it may be what others wrote into the
// Secret's annotations.
func note(certificate string, event anycert.Event) string {
	text := map[anycert.EventKind]string{
		anycert.Pushed:    "version %d of certificate %s was pushed: ",
		anycert.Mended:    "version %d of certificate %s was there, and mended: ",
		anycert.Contested: "version %d of certificate %s was pushed once more: ",
		anycert.Held:      "version %d of certificate %s is not pushed: ",
	}[event.Kind]
	text = fmt.Sprintf(text, event.Version, certificate) + event.Reason
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	if len(text) > maxNote {
		text = strings.ToValidUTF8(text[:maxNote-len("…")], "") + "…"
	}
	return text
}
