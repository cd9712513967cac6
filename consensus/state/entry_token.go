package state

import (
	"crypto/sha256"
	"crypto/subtle"
	"maps"
	"time"

	"redflag/api"
)

// CreateToken admits a number of agents or nodes. Only the hash of the secret
// is kept. A repeat with the same content is accepted.
type CreateToken struct {
	Token      api.Token     `cbor:"1,keyasint"` // Used, Revoked and both times are not the caller's
	SecretHash []byte        `cbor:"2,keyasint"` // SHA-256
	TTL        time.Duration `cbor:"3,keyasint"` // from the entry's time on
}

func (CreateToken) entryType() EntryType { return TypeCreateToken }

func (e CreateToken) apply(t *tx) []*api.Error { return one(e.create(t)) }

func (e CreateToken) create(t *tx) *api.Error {
	if err := api.CheckID("token", e.Token.ID); err != nil {
		return refusal(err)
	}
	key := idKey(keyToken, e.Token.ID)
	var have tokenRow
	if t.get(key, &have) {
		if !e.created(&have) {
			return api.Errorf(api.CodeConflict, "token %s exists with other content", e.Token.ID)
		}
		return nil
	}
	asked := api.CreateTokenRequest{
		Kind: e.Token.Kind, Seats: e.Token.Seats, Labels: e.Token.Labels, TTL: api.Duration(e.TTL),
	}
	if err := asked.Validate(); err != nil {
		return refusal(err)
	}
	if len(e.SecretHash) != sha256.Size {
		return api.Errorf(api.CodeInvalid, "the token's hash is not a SHA-256")
	}
	token := e.Token
	token.CreatedAt, token.ExpiresAt = t.now, t.now.Add(e.TTL)
	token.Used, token.Revoked = 0, false
	t.put(key, tokenRow{Token: token, SecretHash: e.SecretHash})
	return nil
}

// created reports whether row is what e creates.
func (e CreateToken) created(row *tokenRow) bool {
	return e.Token.Kind == row.Token.Kind &&
		e.Token.Seats == row.Token.Seats &&
		e.TTL == row.Token.ExpiresAt.Sub(row.Token.CreatedAt) &&
		maps.Equal(e.Token.Labels, row.Token.Labels) &&
		subtle.ConstantTimeCompare(e.SecretHash, row.SecretHash) == 1
}

// RevokeToken stops a token from admitting anyone else. Who it admitted stays.
type RevokeToken struct {
	ID string `cbor:"1,keyasint"`
}

func (RevokeToken) entryType() EntryType { return TypeRevokeToken }

func (e RevokeToken) apply(t *tx) []*api.Error {
	key := idKey(keyToken, e.ID)
	var row tokenRow
	if !t.get(key, &row) {
		return one(api.Errorf(api.CodeNotFound, "token %q is not known", e.ID))
	}
	row.Token.Revoked = true
	t.put(key, row)
	return one(nil)
}

// CheckToken answers what EnrolAgent or PutNode would say of a registration
// token at now, as far as this node's state goes, and nil for one that admits.
// It does not count seats, since a member that enrols again takes none. A node
// asks before it proposes, so that strangers cannot fill the log.
func (m *Machine) CheckToken(kind api.TokenKind, id string, secretHash []byte, now time.Time) *api.Error {
	var row tokenRow
	if !m.read(idKey(keyToken, id), &row) {
		return invalidToken()
	}
	return row.admits(kind, secretHash, now)
}

// token returns the token that admits a kind of machine, if the secret is its
// own and it still admits.
func (t *tx) token(kind api.TokenKind, id string, secretHash []byte) (tokenRow, *api.Error) {
	var row tokenRow
	if !t.get(idKey(keyToken, id), &row) {
		return row, invalidToken()
	}
	return row, row.admits(kind, secretHash, t.now)
}

// admits refuses a machine that does not know the secret, and one that the
// token is not, or no longer, for.
func (r *tokenRow) admits(kind api.TokenKind, secretHash []byte, now time.Time) *api.Error {
	switch {
	case subtle.ConstantTimeCompare(r.SecretHash, secretHash) != 1:
		return invalidToken()
	case r.Token.Kind != kind:
		return api.Errorf(api.CodeDenied, "token %s admits no %s", r.Token.ID, kind).
			WithHint("redflag token create --kind %s", kind)
	case r.Token.Revoked:
		return api.Errorf(api.CodeDenied, "token %s is revoked", r.Token.ID)
	case !now.Before(r.Token.ExpiresAt):
		return api.Errorf(api.CodeDenied, "token %s has expired", r.Token.ID)
	}
	return nil
}

// invalidToken does not say whether the token exists.
func invalidToken() *api.Error {
	return api.Errorf(api.CodeUnauthenticated, "the registration token is not valid").
		WithHint("redflag token create makes one")
}

// takeSeat counts one more machine against a token.
func (t *tx) takeSeat(kind api.TokenKind, id string, secretHash []byte) *api.Error {
	row, err := t.token(kind, id, secretHash)
	if err != nil {
		return err
	}
	if row.Token.Used >= row.Token.Seats {
		return api.Errorf(api.CodeDenied, "token %s has no seat left of %d", id, row.Token.Seats)
	}
	row.Token.Used++
	t.put(idKey(keyToken, id), row)
	return nil
}
