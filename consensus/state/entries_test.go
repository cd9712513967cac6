package state

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/api"
)

func TestInitCluster(t *testing.T) {
	r := newRig(t)
	found := InitCluster{ClusterID: "c1", Authorities: []byte("pem"), OperatorTokenHash: digest("op")}
	r.refuses(api.CodeInvalid, InitCluster{ClusterID: "../c", OperatorTokenHash: digest("op")})
	r.refuses(api.CodeInvalid, InitCluster{ClusterID: "c1", OperatorTokenHash: []byte("op")})
	r.must(found)
	got, ok := r.Cluster()
	require.True(t, ok)
	require.Equal(t, "c1", got.ID)
	require.Equal(t, r.now, got.CreatedAt)
	rows := r.rows()
	r.must(found)
	require.Equal(t, rows, r.rows(), "a repeat changes nothing")
	other := found
	other.ClusterID = "c2"
	r.refuses(api.CodeConflict, other)
}

func TestNodes(t *testing.T) {
	r := newRig(t)
	put := func(id, key, tokenID string) PutNode {
		return PutNode{
			Node:    api.Node{ID: id, Region: "eu", MeshAddr: "h:1", KeyID: hexDigest(key), EnrolledAt: epoch},
			TokenID: tokenID, TokenSecretHash: digest(tokenID),
		}
	}
	r.refuses(api.CodeInvalid, PutNode{Node: api.Node{ID: "n1", Region: "eu", MeshAddr: "h:1", KeyID: "short"}})
	r.refuses(api.CodeInvalid, PutNode{Node: api.Node{ID: "n1", Region: "eu", KeyID: hexDigest("k")}})
	r.must(put("n1", "k1", ""))
	r.refuses(api.CodeUnauthenticated, put("n2", "k2", "none"))
	r.must(token("agents", api.TokenAgent, 9, nil), token("nodes", api.TokenNode, 1, nil))
	r.refuses(api.CodeDenied, put("n2", "k2", "agents"))
	r.must(put("n2", "k2", "nodes"))
	r.refuses(api.CodeDenied, put("n3", "k3", "nodes")) // no seat left
	r.refuses(api.CodeConflict, put("n2", "another", "nodes"))

	moved := put("n2", "k2", "")
	moved.Node.MeshAddr, moved.Node.Region = "h:2", "us"
	r.must(moved)
	n, ok := r.Node("n2")
	require.True(t, ok)
	require.Equal(t, "h:2 us", n.MeshAddr+" "+n.Region)
	require.Len(t, r.Nodes(), 2)

	r.must(RemoveNode{"n2"})
	r.refuses(api.CodeNotFound, RemoveNode{"n2"})
	require.Len(t, r.Nodes(), 1)
}

func TestTokens(t *testing.T) {
	r := newRig(t)
	good := token("t1", api.TokenAgent, 2, map[string]string{"site": "a"})
	r.must(good, good)
	other := good
	other.SecretHash = digest("other")
	r.refuses(api.CodeConflict, other)
	other = good
	other.TTL++
	r.refuses(api.CodeConflict, other)
	for _, bad := range []func(*CreateToken){
		func(e *CreateToken) { e.Token.ID = "" },
		func(e *CreateToken) { e.Token.Kind = "guest" },
		func(e *CreateToken) { e.Token.Seats = 0 },
		func(e *CreateToken) { e.TTL = time.Minute - 1 },
		func(e *CreateToken) { e.Token.Labels = map[string]string{"a b": ""} },
		func(e *CreateToken) { e.SecretHash = nil },
	} {
		e := token("t2", api.TokenAgent, 2, nil)
		bad(&e)
		r.refuses(api.CodeInvalid, e)
	}
	r.refuses(api.CodeNotFound, RevokeToken{"t2"})
	r.must(RevokeToken{"t1"}, RevokeToken{"t1"})
	require.True(t, r.Tokens()[0].Revoked)
	r.refuses(api.CodeDenied, enrol("a1", "eu", "t1", nil))
}

// A token lives from the entry's time on, whatever the caller's clock says.
func TestTokenLifetime(t *testing.T) {
	r := newRig(t)
	short := token("t1", api.TokenAgent, 2, nil)
	short.TTL = time.Minute
	short.Token.CreatedAt, short.Token.ExpiresAt = epoch.Add(time.Hour), epoch.Add(-time.Hour)
	r.must(short)
	created := r.now
	got, ok := r.Token("t1")
	require.True(t, ok)
	require.Equal(t, created, got.CreatedAt)
	require.Equal(t, created.Add(time.Minute), got.ExpiresAt)
	r.must(short) // a repeat comes at another time
	again, _ := r.Token("t1")
	require.Equal(t, got, again)
	_, ok = r.Token("t2")
	require.False(t, ok)

	r.now = created.Add(58 * time.Second)
	r.must(enrol("a1", "eu", "t1", nil))
	r.refuses(api.CodeDenied, enrol("a2", "eu", "t1", nil)) // at the end exactly
}

// What CheckToken says is what an enrolment would be told, seats aside.
func TestCheckToken(t *testing.T) {
	r := newRig(t)
	r.must(token("t1", api.TokenAgent, 1, nil), token("t2", api.TokenAgent, 1, nil), RevokeToken{"t2"})
	expired := epoch.Add(31 * 24 * time.Hour)
	for name, c := range map[string]struct {
		id, secret string
		kind       api.TokenKind
		now        time.Time
		want       api.Code
	}{
		"admits":     {"t1", "t1", api.TokenAgent, epoch, ""},
		"unknown":    {"t9", "t9", api.TokenAgent, epoch, api.CodeUnauthenticated},
		"secret":     {"t1", "guess", api.TokenAgent, epoch, api.CodeUnauthenticated},
		"other kind": {"t1", "t1", api.TokenNode, epoch, api.CodeDenied},
		"revoked":    {"t2", "t2", api.TokenAgent, epoch, api.CodeDenied},
		"expired":    {"t1", "t1", api.TokenAgent, expired, api.CodeDenied},
	} {
		err := r.CheckToken(c.kind, c.id, digest(c.secret), c.now)
		if c.want == "" {
			require.Nil(t, err, name)
			continue
		}
		require.NotNil(t, err, name)
		require.Equal(t, c.want, err.Code, name)
	}
	unknown := r.CheckToken(api.TokenAgent, "t9", nil, epoch)
	require.Equal(t, unknown, r.CheckToken(api.TokenAgent, "t1", nil, epoch), "they are not told apart")
	r.must(enrol("a1", "eu", "t1", nil))
	require.Nil(t, r.CheckToken(api.TokenAgent, "t1", digest("t1"), epoch), "seats are not counted")
}

// An id names one machine, an agent or a node.
func TestNamesAreShared(t *testing.T) {
	r := newRig(t)
	node := func(id, tokenID string) PutNode {
		return PutNode{
			Node:    api.Node{ID: id, Region: "eu", MeshAddr: "h:1", KeyID: hexDigest(id)},
			TokenID: tokenID, TokenSecretHash: digest(tokenID),
		}
	}
	r.must(token("agents", api.TokenAgent, 9, nil), token("nodes", api.TokenNode, 9, nil), enrol("m1", "eu", "agents", nil))
	r.refuses(api.CodeConflict, node("m1", "")) // not even the first node
	r.must(node("m2", ""))
	r.refuses(api.CodeConflict, node("m1", "nodes"))
	r.refuses(api.CodeUnauthenticated, node("m1", "none")) // a stranger learns no names
	r.refuses(api.CodeConflict, enrol("m2", "eu", "agents", nil))
	r.refuses(api.CodeUnauthenticated, enrol("m2", "eu", "none", nil))
	require.EqualError(t, r.apply(enrol("m2", "eu", "agents", nil)).Err(), "m2 is the name of a node (choose another --id)")
	require.EqualError(t, r.apply(node("m1", "nodes")).Err(), "m1 is the name of an agent (choose another --id)")
}

func TestEnrolment(t *testing.T) {
	r := newRig(t)
	r.must(token("t1", api.TokenAgent, 2, map[string]string{"site": "a"}), token("nodes", api.TokenNode, 2, nil))
	r.refuses(api.CodeUnauthenticated, enrol("a1", "eu", "unknown", nil))
	r.refuses(api.CodeDenied, enrol("a1", "eu", "nodes", nil))
	wrong := enrol("a1", "eu", "t1", nil)
	wrong.TokenSecretHash = digest("guess")
	r.refuses(api.CodeUnauthenticated, wrong)
	wrong.TokenSecretHash = nil
	r.refuses(api.CodeUnauthenticated, wrong)
	r.refuses(api.CodeInvalid, enrol("a:1", "eu", "t1", nil))

	first := enrol("a1", "eu", "t1", map[string]string{"site": "forged", "role": "kiosk"})
	r.must(first, first)
	require.Equal(t, 1, r.tokenUsed("t1"), "a repeat takes no second seat")
	a, ok := r.Agent("a1")
	require.True(t, ok)
	require.Equal(t, map[string]string{"site": "a", "role": "kiosk"}, a.Labels, "the token's labels win")

	other := first
	other.Agent.KeyID = hexDigest("other")
	r.refuses(api.CodeConflict, other)
	r.must(enrol("a2", "eu", "t1", nil))
	r.refuses(api.CodeDenied, enrol("a3", "eu", "t1", nil)) // no seat left
	r.must(first)                                           // but its owner is admitted again
	r.now = epoch.Add(31 * 24 * time.Hour)
	r.refuses(api.CodeDenied, first) // expired
}

func (r *rig) tokenUsed(id string) int {
	for _, tok := range r.Tokens() {
		if tok.ID == id {
			return tok.Used
		}
	}
	return -1
}

func TestPublish(t *testing.T) {
	r := newRig(t)
	r.must(artifact("app", "1.0.0", 1))
	repeat := artifact("app", "1.0.0", 9)
	r.must(repeat)
	require.Equal(t, map[string]int64{"targets": 1, "snapshot": 1, "timestamp": 1}, r.TrustVersions(), "a repeat changes nothing")
	repeat.Artifact.SHA256 = hexDigest("other")
	r.refuses(api.CodeConflict, repeat)
	r.refuses(api.CodeConflict, artifact("app", "1.1.0", 1)) // metadata made on an old version
	r.refuses(api.CodeConflict, artifact("app", "1.1.0", 3))
	r.refuses(api.CodeInvalid, artifact("../app", "1.1.0", 2))
	bad := artifact("app", "1.1.0", 2)
	bad.Artifact.Length = -1
	r.refuses(api.CodeInvalid, bad)
	bad = artifact("app", "1.1.0", 2)
	bad.Artifact.SHA256 = strings.ToUpper(bad.Artifact.SHA256)
	r.refuses(api.CodeInvalid, bad)
	for n := int64(2); n <= 6; n++ {
		r.must(artifact("app", "1."+string(rune('0'+n)), n))
	}
	require.Len(t, r.Artifacts(), 6)
	_, ok := r.TrustFile("2.targets.json")
	require.False(t, ok, "old versions do not pile up")
	got, ok := r.TrustFile("6.targets.json")
	require.True(t, ok)
	require.Equal(t, "targets 6", string(got))
	_, ok = r.Artifact("app", "9")
	require.False(t, ok)
}

// Signed targets that come with a known artifact are not lost.
func TestPublishAgain(t *testing.T) {
	r := newRig(t)
	r.must(artifact("app", "1.0.0", 1))
	want, _ := r.Artifact("app", "1.0.0")
	rows := r.rows()
	r.must(artifact("app", "1.0.0", 1), artifact("app", "1.0.0", 3))
	require.Equal(t, rows, r.rows(), "neither the current versions nor a gap change anything")

	next := artifact("app", "1.0.0", 2)
	next.Artifact.OriginNode = "n2"
	stale := next
	stale.Snapshot.Version = 1
	r.refuses(api.CodeConflict, stale) // the node signs again
	r.must(next)
	require.Equal(t, map[string]int64{"targets": 2, "snapshot": 2, "timestamp": 2}, r.TrustVersions())
	got, ok := r.TrustFile("2.targets.json")
	require.True(t, ok)
	require.Equal(t, "targets 2", string(got))
	have, _ := r.Artifact("app", "1.0.0")
	require.Equal(t, want, have, "the artifact stays as it is")
	rows = r.rows()
	r.must(next)
	require.Equal(t, rows, r.rows())
}

func TestTrust(t *testing.T) {
	r := newRig(t)
	meta := func(n int64) *Metadata { return &Metadata{n, []byte("x")} }
	r.refuses(api.CodeInvalid, PutTrust{})
	r.refuses(api.CodeInvalid, PutTrust{Root: &Metadata{Version: 1}})
	r.must(PutTrust{Root: meta(3)}, PutTrust{Root: meta(4), Timestamp: meta(1)})
	r.refuses(api.CodeConflict, PutTrust{Root: meta(4)})
	r.refuses(api.CodeConflict, PutTrust{Root: meta(6)})
	r.refuses(api.CodeConflict, PutTrust{Root: meta(5), Timestamp: meta(1)}) // all or none
	r.must(PutTrust{Timestamp: meta(7)})
	for _, name := range []string{"3.root.json", "4.root.json", "timestamp.json"} {
		_, ok := r.TrustFile(name)
		require.True(t, ok, name)
	}
}

// The next online key takes effect with the root that names it, in one entry.
func TestOnlineKey(t *testing.T) {
	r := newRig(t)
	next := PutOnlineKey{Sealed: []byte("sealed 2"), Public: []byte("public 2")}
	r.refuses(api.CodeConflict, next)
	r.must(InitCluster{"c1", []byte("pem"), []byte("ca"), []byte("sealed 1"), []byte("public 1"), digest("operator")}, next)
	adopt := PutTrust{Root: &Metadata{1, []byte("x")}, OnlineKey: []byte("public 1")}
	r.refuses(api.CodeConflict, adopt)
	adopt.OnlineKey = next.Public
	adopt.Root.Version = 0
	r.refuses(api.CodeInvalid, adopt)
	adopt.Root.Version = 1
	r.must(adopt)
	c, ok := r.Cluster()
	require.True(t, ok)
	require.Equal(t, "sealed 2 public 2", string(c.SealedOnlineKey)+" "+string(c.OnlineKeyPublic))
	require.Empty(t, c.NextOnlineKeyPublic)
	adopt.Root.Version = 2
	r.refuses(api.CodeConflict, adopt)
}

func TestSettings(t *testing.T) {
	r := newRig(t)
	require.Zero(t, r.Settings().Version)
	set := func(k api.SettingKey, v string) ChangeSettings {
		return ChangeSettings{Values: map[api.SettingKey]string{k: v}, By: "operator"}
	}
	r.refuses(api.CodeInvalid, ChangeSettings{})
	r.refuses(api.CodeInvalid, set("nonsense", "1"))
	r.refuses(api.CodeInvalid, set(api.SettingPollIdle, "1ms"))
	r.must(set(api.SettingPollIdle, "30s"), set(api.SettingDebug, "true"))
	require.Equal(t, r.index, r.Settings().Version)
	require.Equal(t, 30*time.Second, r.Settings().Duration(api.SettingPollIdle))
	r.must(set(api.SettingPollIdle, ""))
	require.Equal(t, time.Minute, r.Settings().Duration(api.SettingPollIdle))
	require.True(t, r.Settings().Bool(api.SettingDebug))
}

func TestTick(t *testing.T) {
	r := newRig(t)
	require.True(t, r.LastTick().IsZero())
	r.must(Tick{})
	require.Equal(t, r.now, r.LastTick())
}
