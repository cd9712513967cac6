package node

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
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

// sessionClaims is what a session cookie carries. It is signed with a key that
// every node derives from the sealing key, so that any of them knows it.
type sessionClaims struct {
	Operator string    `json:"o"`
	Secret   string    `json:"s"` // of the token: a new token for the name ends its sessions
	Expires  time.Time `json:"e"`
	Nonce    string    `json:"n"`
}

func (n *Node) sessionKey(purpose string) ([]byte, error) {
	key, err := hkdf.Key(sha256.New, n.sealingKey, nil, "redflag session "+purpose, sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("derive session key: %w", err)
	}
	return key, nil
}

func (n *Node) sessionMAC(purpose, text string) (string, error) {
	key, err := n.sessionKey(purpose)
	if err != nil {
		return "", err
	}
	mac := hmac.New(sha256.New, key)
	_, _ = mac.Write([]byte(text))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)), nil
}

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
	claims := sessionClaims{Operator: op.ID, Secret: fingerprint(hash), Expires: time.Now().Add(sessionLife).UTC(), Nonce: pki.NewSecret()}
	if !op.ExpiresAt.IsZero() && op.ExpiresAt.Before(claims.Expires) {
		claims.Expires = op.ExpiresAt
	}
	cookie, err := n.sealSession(claims)
	if err != nil {
		return nil, err
	}
	http.SetCookie(w, n.cookie(r, cookie, claims.Expires))
	n.auditLater(r, op.ID, "login", "", "")
	return n.sessionOf(op, claims)
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

func (n *Node) sessionOf(op api.Operator, c sessionClaims) (api.Session, error) {
	csrf, err := n.sessionMAC("csrf", c.Nonce)
	return api.Session{Operator: op, CSRF: csrf, ExpiresAt: c.Expires}, err
}

func (n *Node) sealSession(c sessionClaims) (string, error) {
	b, err := json.Marshal(c) //nolint:gosec // a fingerprint of the hash, not the secret
	if err != nil {
		return "", err
	}
	text := base64.RawURLEncoding.EncodeToString(b)
	mac, err := n.sessionMAC("cookie", text)
	return text + "." + mac, err
}

// openSession returns who a session cookie speaks for. A request that changes
// something must carry the session's CSRF token in a header, which no other
// site can make a browser send.
func (n *Node) openSession(r *http.Request) (api.Operator, sessionClaims, error) {
	var c sessionClaims
	ended := api.Errorf(api.CodeUnauthenticated, "the session has ended").WithHint("log in again")
	cookie, err := r.Cookie(sessionCookie)
	if err != nil || len(cookie.Value) > 2048 {
		return api.Operator{}, c, ended
	}
	text, mac, _ := strings.Cut(cookie.Value, ".")
	want, err := n.sessionMAC("cookie", text)
	if err != nil {
		return api.Operator{}, c, err
	}
	b, decodeErr := base64.RawURLEncoding.DecodeString(text)
	if !hmac.Equal([]byte(mac), []byte(want)) || decodeErr != nil || json.Unmarshal(b, &c) != nil || time.Now().After(c.Expires) {
		return api.Operator{}, c, ended
	}
	op, hash, ok := n.operator(c.Operator)
	if !ok || !op.Live(time.Now()) || fingerprint(hash) != c.Secret {
		return api.Operator{}, c, ended
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		csrf, err := n.sessionMAC("csrf", c.Nonce)
		if err != nil {
			return op, c, err
		}
		if !hmac.Equal([]byte(r.Header.Get(csrfHeader)), []byte(csrf)) {
			return op, c, api.Errorf(api.CodeDenied, "the request does not carry the session's CSRF token").
				WithHint("send it in the header %s; GET /v1/session has it", csrfHeader)
		}
	}
	return op, c, nil
}

// showSession tells a page that was loaded again who it is.
func (n *Node) showSession(r *http.Request) (any, error) {
	op, claims, err := n.openSession(r)
	if err != nil {
		return nil, err
	}
	return n.sessionOf(op, claims)
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
