package node

import (
	"encoding/base64"
	"net/http"
	"time"

	"redflag/api"
	"redflag/trust/pki"
)

const (
	sessionCookie = "redflag_session"
	// sessionLife is how long a browser stays logged in.
	sessionLife = 12 * time.Hour
	csrfHeader  = "X-CSRF-Token"
)

// serveCookies serves a handler that sets a cookie. Other sites may not call it
// at all: a browser says where a request comes from.
func (n *Node) serveCookies(h func(http.ResponseWriter, *http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.serve(maxSmallBody, func(r *http.Request) (any, error) {
			if err := http.NewCrossOriginProtection().Check(r); err != nil {
				return nil, api.Errorf(api.CodeDenied, "the request comes from another site")
			}
			return h(w, r)
		}).ServeHTTP(w, r)
	})
}

// login opens a browser session with an API token, which travels in the body
// and never in a URL.
func (n *Node) login(w http.ResponseWriter, r *http.Request) (any, error) {
	var req api.LoginRequest
	if err := body(r, &req); err != nil {
		return nil, err
	}
	if err := n.guesses.spent(r); err != nil {
		return nil, err
	}
	op, hash, err := n.authenticate(req.Token)
	if api.CodeOf(err) == api.CodeUnauthenticated {
		n.guesses.failed(r)
		n.auditEvent(r, "stranger", "login refused", "", err.Error())
	}
	if err != nil {
		return nil, err
	}
	claims := pki.SessionClaims{Operator: op.ID, Secret: fingerprint(hash), Expires: time.Now().Add(sessionLife).UTC(), Nonce: pki.NewSecret()}
	if !op.ExpiresAt.IsZero() && op.ExpiresAt.Before(claims.Expires) {
		claims.Expires = op.ExpiresAt
	}
	cookie, err := n.sessions.Seal(claims)
	if err != nil {
		return nil, err
	}
	http.SetCookie(w, n.cookie(r, cookie, claims.Expires))
	n.auditLater(r, op.ID, "login", "", "")
	return n.sessionOf(op, claims), nil
}

func fingerprint(hash []byte) string {
	return base64.RawURLEncoding.EncodeToString(hash[:min(12, len(hash))])
}

// cookie is out of reach of scripts and of other sites. It is sent over plain
// HTTP only where the API listens on loopback without TLS.
func (n *Node) cookie(r *http.Request, value string, expires time.Time) *http.Cookie {
	return &http.Cookie{ //nolint:gosec // Secure wherever there is TLS; loopback may have none
		Name: sessionCookie, Value: value, Path: "/", Expires: expires,
		HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode,
	}
}

func (n *Node) sessionOf(op api.Operator, c pki.SessionClaims) api.Session {
	return api.Session{Operator: op, CSRF: n.sessions.CSRF(c), ExpiresAt: c.Expires}
}

// openSession returns who a session cookie speaks for. A request that changes
// something must carry the session's CSRF token in a header, which no other
// site can make a browser send.
func (n *Node) openSession(r *http.Request) (api.Operator, pki.SessionClaims, error) {
	ended := api.Errorf(api.CodeUnauthenticated, "the session has ended").WithHint("log in again")
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return api.Operator{}, pki.SessionClaims{}, ended
	}
	c, err := n.sessions.Open(cookie.Value, time.Now())
	if err != nil {
		return api.Operator{}, c, ended
	}
	op, hash, ok := n.operator(c.Operator)
	if !ok || !op.Live(time.Now()) || fingerprint(hash) != c.Secret {
		return api.Operator{}, c, ended
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead && !n.sessions.IsCSRF(c, r.Header.Get(csrfHeader)) {
		return op, c, api.Errorf(api.CodeDenied, "the request does not carry the session's CSRF token").
			WithHint("send it in the header %s; GET /v1/session has it", csrfHeader)
	}
	return op, c, nil
}

// showSession tells a page that was loaded again who it is.
func (n *Node) showSession(r *http.Request) (any, error) {
	op, claims, err := n.openSession(r)
	if err != nil {
		return nil, err
	}
	return n.sessionOf(op, claims), nil
}

// logout ends the session in this browser.
func (n *Node) logout(w http.ResponseWriter, r *http.Request) (any, error) {
	op, _, err := n.openSession(r)
	if err != nil {
		return nil, err
	}
	n.auditLater(r, op.ID, "logout", "", "")
	gone := n.cookie(r, "", time.Unix(0, 0)) //nolint:gosec // as above
	gone.MaxAge = -1
	http.SetCookie(w, gone)
	return nil, nil
}
