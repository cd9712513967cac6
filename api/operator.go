package api

import (
	"maps"
	"time"
)

// OperatorRole is what an API token may do.
type OperatorRole string

// The roles of operators. Each may do what the one before it may.
const (
	OperatorViewer OperatorRole = "viewer"   // see everything
	OperatorRuns   OperatorRole = "operator" // and roll out, cancel, publish
	OperatorAdmin  OperatorRole = "admin"    // and change trust, tokens, settings and operators
)

// Rank orders the roles; -1 for none.
func (r OperatorRole) Rank() int {
	switch r {
	case OperatorViewer:
		return 0
	case OperatorRuns:
		return 1
	case OperatorAdmin:
		return 2
	}
	return -1
}

// Founder is the operator of the credential that the first node writes: an
// admin, until it is revoked.
const Founder = "founder"

// Operator is who an API token speaks for. The secret is shown once and only
// its hash is kept.
type Operator struct {
	ID   string       `json:"id" cbor:"1,keyasint"`
	Role OperatorRole `json:"role" cbor:"2,keyasint"`
	// Scope bounds the agents that the operator may act on; nil for all.
	Scope     *Selector `json:"scope,omitempty" cbor:"3,keyasint,omitempty"`
	CreatedAt time.Time `json:"created_at" cbor:"4,keyasint"`
	ExpiresAt time.Time `json:"expires_at,omitzero" cbor:"5,keyasint,omitzero"`
	RevokedAt time.Time `json:"revoked_at,omitzero" cbor:"6,keyasint,omitzero"`
	CreatedBy string    `json:"created_by,omitempty" cbor:"7,keyasint,omitempty"`
}

// Live reports whether the operator's token is valid at now.
func (o *Operator) Live(now time.Time) bool {
	return o.RevokedAt.IsZero() && (o.ExpiresAt.IsZero() || now.Before(o.ExpiresAt))
}

// CreateOperatorRequest asks for an API token.
type CreateOperatorRequest struct {
	ID    string       `json:"id"`
	Role  OperatorRole `json:"role"`
	Scope *Selector    `json:"scope,omitempty"`
	TTL   Duration     `json:"ttl"` // 1 minute to 1 year
}

// Validate returns a CodeInvalid error for a token that cannot be made.
func (r *CreateOperatorRequest) Validate() error {
	if err := CheckID("operator", r.ID); err != nil {
		return err
	}
	if r.ID == Founder {
		return Errorf(CodeInvalid, "%s is the operator that founded the cluster", Founder).WithHint("choose another name")
	}
	if r.Role.Rank() < 0 {
		return Errorf(CodeInvalid, "role %q is not known", r.Role).WithHint("use %s, %s or %s", OperatorViewer, OperatorRuns, OperatorAdmin)
	}
	if ttl := time.Duration(r.TTL); ttl < time.Minute || ttl > 366*24*time.Hour {
		return Errorf(CodeInvalid, "a lifetime of %s is out of range", ttl).WithHint("use 1m to 8784h")
	}
	if r.Scope != nil {
		if r.Role == OperatorAdmin {
			return Errorf(CodeInvalid, "an admin has no scope: an admin could widen it").WithHint("use the role %s", OperatorRuns)
		}
		return r.Scope.Validate()
	}
	return nil
}

// CreateOperatorResponse carries the token, once.
type CreateOperatorResponse struct {
	Operator Operator `json:"operator"`
	Token    string   `json:"token"`
}

// LoginRequest opens a browser session with an API token.
type LoginRequest struct {
	Token string `json:"token"`
}

// Session is who a browser is logged in as. CSRF goes into the header
// X-CSRF-Token of every request that changes something.
type Session struct {
	Operator  Operator  `json:"operator"`
	CSRF      string    `json:"csrf"`
	ExpiresAt time.Time `json:"expires_at"`
}

// Within narrows s to what scope allows as well. It refuses where the two
// cannot be told to agree, so that nobody reaches further than their scope.
func (s Selector) Within(scope *Selector) (Selector, error) {
	if scope == nil {
		return s, nil
	}
	denied := Errorf(CodeDenied, "this reaches agents outside of your scope").WithHint("select within your scope: redflag operator whoami")
	out := s
	switch {
	case len(scope.Regions) == 0:
	case len(s.Regions) == 0:
		out.Regions = scope.Regions
	case !within(s.Regions, scope.Regions):
		return s, denied
	}
	switch {
	case len(scope.Agents) == 0:
	case len(s.Agents) == 0:
		out.Agents = scope.Agents
	case !within(s.Agents, scope.Agents):
		return s, denied
	}
	if len(scope.Labels) > 0 {
		out.Labels = make(map[string]string, len(s.Labels)+len(scope.Labels))
		maps.Copy(out.Labels, s.Labels)
		for k, v := range scope.Labels {
			if have, ok := out.Labels[k]; ok && have != v {
				return s, denied
			}
		}
		maps.Copy(out.Labels, scope.Labels)
	}
	return out, nil
}

func within(some, all []string) bool {
	for _, s := range some {
		found := false
		for _, a := range all {
			found = found || a == s
		}
		if !found {
			return false
		}
	}
	return true
}
