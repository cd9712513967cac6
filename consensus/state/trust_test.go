package state

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/api"
)

func founded(t *testing.T) *rig {
	t.Helper()
	r := newRig(t)
	r.must(InitCluster{"c1", []byte("old"), []byte("old key"), []byte("online"), []byte("pkix"), digest("operator")})
	return r
}

// A roll-over takes its three steps in order, each from the version before.
func TestChangeCA(t *testing.T) {
	r := founded(t)
	version := func() uint64 {
		c, ok := r.Cluster()
		require.True(t, ok)
		return c.CAVersion
	}
	step := func(s api.CAStage) ChangeCA {
		return ChangeCA{Version: version(), Stage: s, Authorities: []byte("old new"), SealedKey: []byte("key"), SealedNext: []byte("next")}
	}
	r.refuses(api.CodeConflict, step(api.CAReissue))
	r.refuses(api.CodeConflict, step(api.CASteady))
	r.must(step(api.CASpread))
	late := step(api.CAReissue)
	late.Version--
	r.refuses(api.CodeConflict, late)
	r.must(step(api.CAReissue))
	r.refuses(api.CodeConflict, step(api.CASpread))
	r.must(step(api.CASteady))
	r.must(step(api.CASpread))
	empty := step(api.CAReissue)
	empty.Authorities = nil
	r.refuses(api.CodeInvalid, empty)
}

func TestConfirmations(t *testing.T) {
	r := fleet(t)
	require.Len(t, r.Unconfirmed(5, "", 100), 4)
	confirm := ConfirmTrust{}
	for _, id := range []string{"a1", "a2", "a3", "a4", "nobody"} {
		confirm.Members = append(confirm.Members, Confirmation{ID: id, Version: 5, Issuer: "old"})
	}
	r.must(confirm)
	require.Empty(t, r.Unconfirmed(5, "", 100))
	require.Len(t, r.Unconfirmed(5, "new", 2), 2)
	require.Len(t, r.Unconfirmed(6, "", 100), 4)
	r.must(RevokeAgent{ID: "a1"})
	require.NotContains(t, r.Unconfirmed(6, "", 100), "a1", "nobody waits for who was put out")
}

func TestRevocation(t *testing.T) {
	r := fleet(t)
	r.refuses(api.CodeNotFound, RevokeAgent{ID: "a9"})
	require.False(t, r.Revoked(hexDigest("a1")))
	r.must(RevokeAgent{ID: "a1", Until: epoch.Add(time.Hour)}, RevokeAgent{ID: "a1"})
	require.True(t, r.Revoked(hexDigest("a1")))
	version, keys := r.Revocations()
	require.Equal(t, []string{hexDigest("a1")}, keys)
	require.Equal(t, r.RevocationVersion(), version)

	r.must(rollout("r2", api.Selector{All: true}))
	got, ok := r.Rollout("r2")
	require.True(t, ok)
	require.Equal(t, 3, got.Agents, "a later rollout does not have it as a member")

	same := enrol("a1", "eu", "t1", nil)
	r.refuses(api.CodeDenied, same)
	same.Agent.KeyID = hexDigest("a new key")
	r.must(same)
	a, ok := r.Agent("a1")
	require.True(t, ok)
	require.True(t, a.RevokedAt.IsZero())
	require.True(t, r.Revoked(hexDigest("a1")), "the old key stays out")

	r.now = epoch.Add(2 * time.Hour)
	r.must(RevokeAgent{ID: "a2"})
	_, keys = r.Revocations()
	require.Equal(t, []string{hexDigest("a2")}, keys, "what has expired by itself is not listed for ever")
	require.False(t, r.Revoked(hexDigest("a1")))
	r.reopened()
}

func TestRemovedNodeIsRevoked(t *testing.T) {
	r := newRig(t)
	first := PutNode{Node: api.Node{ID: "n1", Region: "eu", MeshAddr: "h:1", KeyID: hexDigest("k1")}}
	r.must(first, token("nodes", api.TokenNode, 9, nil), RemoveNode{"n1"})
	require.True(t, r.Revoked(hexDigest("k1")))
	r.refuses(api.CodeDenied, first)
	first.Node.KeyID = hexDigest("k2")
	r.must(first)
}

func TestAuditChain(t *testing.T) {
	r := newRig(t)
	for range 3 {
		r.must(Audit{Records: []api.AuditRecord{{Who: "alice", Action: "POST /v1/rollouts", Seq: 99, Hash: "forged"}, {Who: "bob"}}})
	}
	r.refuses(api.CodeInvalid, Audit{Records: []api.AuditRecord{{Detail: string(make([]byte, maxDetail+1))}}})
	log := r.AuditLog(0, 100)
	require.Len(t, log, 6)
	require.Nil(t, api.VerifyAudit(log))
	require.Equal(t, uint64(1), log[0].Seq)
	require.Len(t, r.AuditLog(4, 100), 2)
	for name, forge := range map[string]func([]api.AuditRecord) []api.AuditRecord{
		"changed":   func(l []api.AuditRecord) []api.AuditRecord { l[2].Who = "mallory"; return l },
		"taken out": func(l []api.AuditRecord) []api.AuditRecord { return append(l[:2], l[3:]...) },
		"changed and hashed again": func(l []api.AuditRecord) []api.AuditRecord {
			l[2].Who = "mallory"
			l[2].Hash = l[2].Digest()
			return l
		},
	} {
		require.NotNil(t, api.VerifyAudit(forge(r.AuditLog(0, 100))), name)
	}
}

func TestOperators(t *testing.T) {
	r := founded(t)
	put := func(id string, role api.OperatorRole, secret string) PutOperator {
		return PutOperator{Operator: api.Operator{ID: id, Role: role, ExpiresAt: epoch.Add(time.Hour)}, SecretHash: digest(secret)}
	}
	r.refuses(api.CodeInvalid, put("alice", "god", "s"))
	r.refuses(api.CodeInvalid, put(api.Founder, api.OperatorAdmin, "s"))
	r.must(put("alice", api.OperatorViewer, "s"), put("alice", api.OperatorViewer, "s"))
	r.refuses(api.CodeConflict, put("alice", api.OperatorAdmin, "other"))
	r.refuses(api.CodeConflict, RevokeOperator{api.Founder})
	r.must(put("bob", api.OperatorAdmin, "t"), RevokeOperator{api.Founder}, RevokeOperator{"alice"})
	r.refuses(api.CodeNotFound, RevokeOperator{"nobody"})
	c, _ := r.Cluster()
	require.Empty(t, c.OperatorTokenHash)
	alice, hash, ok := r.Operator("alice")
	require.True(t, ok)
	require.False(t, alice.Live(epoch))
	require.Equal(t, digest("s"), hash)
	require.Len(t, r.Operators(), 2)
	r.must(put("alice", api.OperatorRuns, "new"))
}
