package store

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/anycert/anycert"
)

const (
	// doubtPause is how long an answer to "is it the token?" is good for.
	doubtPause = 10 * time.Second
	// loginPause is how long a refused login is not tried again: Vault locks out
	// who tries too often.
	loginPause = 30 * time.Second
	// renewPause is how long a renewal that failed in passing is not tried again.
	renewPause = 10 * time.Second
)

// session is one token and what is known of its life. It is never changed.
type session struct {
	client    *api.Client
	token     anycert.Secret
	ours      bool          // from a login: revoked in the end
	life      time.Duration // that it was given first; 0: for ever
	renewAt   time.Time     // zero: never
	endsAt    time.Time     // zero: never
	renewable bool
	replaces  bool // the token before it was revoked under way
	since     time.Time
}

// sessions keeps the session in force. Renewal happens when a request needs the
// token, not in the background: there is nothing to stop, and a token that nobody
// uses is not kept alive.
type sessions struct {
	authenticate authenticator

	turn    chan struct{} // held by whoever looks at or changes the fields below
	current *session
	vouched time.Time // the token was good until then
	barred  time.Time // no login before then
	why     error     // what the last login was refused with

	unrenewed error // what kept a token from being renewed; nil: nothing that is known
}

// authenticator obtains a token: by a login, or by reading one that was given.
type authenticator interface {
	// login returns ErrForbidden when Vault does not accept what it was shown.
	login(ctx context.Context, v *vault) (grant, error)
}

// grant is a token as a login or a renewal gives it.
type grant struct {
	token     anycert.Secret
	life      time.Duration
	renewable bool
	ours      bool
}

func (v *vault) lock(ctx context.Context) (unlock func(), err error) {
	if ctx.Err() == nil {
		select {
		case v.turn <- struct{}{}:
			return sync.OnceFunc(func() { <-v.turn }), nil
		case <-ctx.Done():
		}
	}
	return nil, ended(ctx)
}

// session returns the session in force; it renews its token or logs in when that
// is due. Everybody else waits meanwhile, so that there is one login.
func (v *vault) session(ctx context.Context) (*session, error) {
	unlock, err := v.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	now := v.now()
	if s := v.current; s != nil && (s.renewAt.IsZero() || now.Before(s.renewAt)) {
		return s, nil
	}
	if s := v.current; s != nil && s.renewable && now.Before(s.endsAt) {
		if renewed := v.renew(ctx, s); renewed != nil {
			v.current = renewed
			return renewed, nil
		}
	}
	return v.replace(ctx, false)
}

// replace logs in. The caller holds the lock.
func (v *vault) replace(ctx context.Context, revoked bool) (*session, error) {
	now := v.now()
	if now.Before(v.barred) {
		return nil, v.why
	}
	given, err := v.authenticate.login(ctx, v)
	if errors.Is(err, anycert.ErrForbidden) {
		if v.unrenewed != nil {
			err = fmt.Errorf("%w; the token could not be renewed: %w", err, v.unrenewed)
		}
		v.barred, v.why = now.Add(loginPause), err
	}
	if err != nil {
		return nil, err
	}
	s, err := v.begin(given, now)
	if err != nil {
		return nil, err
	}
	s.replaces = revoked
	v.current, v.vouched = s, time.Time{}
	return s, nil
}

// begin makes a session. Its token is due for renewal at two thirds of its life,
// or for another login at nine tenths when it cannot be renewed. asked is the time
// before the request, so that the life is rather thought too short.
func (v *vault) begin(given grant, asked time.Time) (*session, error) {
	client, err := v.client(given.token.Reveal())
	if err != nil {
		return nil, err
	}
	s := &session{client: client, token: given.token, ours: given.ours, life: given.life, renewable: given.renewable, since: asked}
	if given.life > 0 {
		s.endsAt = asked.Add(given.life)
		s.renewAt = asked.Add(given.life / 10 * 9)
		if given.renewable {
			s.renewAt = asked.Add(given.life / 3 * 2)
		}
	}
	return s, nil
}

// renew returns the session to go on with, or nil when a login is needed.
func (v *vault) renew(ctx context.Context, s *session) *session {
	now := v.now()
	given, err := v.grant(ctx, s.client, request{method: http.MethodPut, path: renewSelf, body: map[string]string{}, capability: "update"})
	v.cannotRenew(err)
	if errors.Is(err, anycert.ErrUnavailable) {
		later := *s // Vault is away; the token is still good
		later.renewAt = now.Add(min(renewPause, s.endsAt.Sub(now)))
		return &later
	}
	if err != nil || given.life <= 0 { // refused: its longest life is over
		return nil
	}
	given.token, given.ours = s.token, s.ours
	// Near the end of its longest life a token is renewed for ever shorter times.
	given.renewable = given.renewable && given.life > s.life/2
	renewed, err := v.begin(given, now)
	if err != nil {
		return nil
	}
	renewed.life = s.life
	return renewed
}

// doubt finds out whether a refusal was the token's fault: it was revoked, or has
// ended before its time. It returns the session to try again with, nil when the
// refusal stands, or an error that tells more than the refusal did.
func (v *vault) doubt(ctx context.Context, used *session) (*session, error) {
	unlock, err := v.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	now := v.now()
	switch {
	case v.current != used: // somebody else has found out
		return v.current, nil
	case now.Before(v.vouched):
		return nil, nil
	}
	_, err = v.send(ctx, used.client, lookupSelf)
	if err != nil && !errors.Is(err, anycert.ErrForbidden) {
		return nil, err
	}
	// A token that came in the place of a revoked one and may not look at itself
	// either has policies that do not allow it: logging in again would not help.
	if err == nil || used.replaces && now.Before(used.since.Add(loginPause)) {
		v.vouched = now.Add(doubtPause)
		return nil, nil
	}
	return v.replace(ctx, true)
}

// cannotRenew keeps in mind that a policy is why a token cannot be renewed; nil: it can.
func (v *vault) cannotRenew(err error) {
	if _, refused := errors.AsType[*refusedError](err); err == nil || refused && !invalidToken(err) {
		v.unrenewed = err
	}
}

const (
	renewSelf  = "auth/token/renew-self"
	revokeSelf = "auth/token/revoke-self"
)

var lookupSelf = request{method: http.MethodGet, path: "auth/token/lookup-self", capability: "read"}

// logout revokes the token of a login.
func (v *vault) logout(ctx context.Context) error {
	unlock, err := v.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	s := v.current
	v.current = nil
	if s == nil || !s.ours {
		return nil
	}
	_, err = v.send(ctx, s.client, request{method: http.MethodPut, path: revokeSelf, body: map[string]string{}, capability: "update"})
	if invalidToken(err) { // somebody else has revoked it
		return nil
	}
	return err
}
