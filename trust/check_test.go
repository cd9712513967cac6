package trust_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"redflag/trust"
	"redflag/trust/online"
	"redflag/trust/trusttest"
)

func TestCheckRootUpdate(t *testing.T) {
	r, other := trusttest.NewRepository(t), trusttest.NewRepository(t)
	r.RotateRoot(false)
	r.RotateRoot(true)
	one, two, three := r.File("1.root.json"), r.File("2.root.json"), r.File("3.root.json")

	require.NoError(t, trust.CheckRootUpdate(nil, one))
	require.NoError(t, trust.CheckRootUpdate(nil, three))
	require.NoError(t, trust.CheckRootUpdate(one, two))
	require.NoError(t, trust.CheckRootUpdate(two, three))
	require.NoError(t, trust.CheckRootUpdate(two, two), "a repeat changes nothing")

	require.ErrorIs(t, trust.CheckRootUpdate(two, one), trust.ErrSignature)
	require.ErrorIs(t, trust.CheckRootUpdate(one, three), trust.ErrSignature)
	require.ErrorIs(t, trust.CheckRootUpdate(one, other.Root()), trust.ErrSignature)
	require.ErrorIs(t, trust.CheckRootUpdate(one, r.Targets()), trust.ErrMalformed)
	require.ErrorIs(t, trust.CheckRootUpdate([]byte("{}"), one), trust.ErrMalformed)
	require.ErrorIs(t, trust.CheckRootUpdate(nil, make([]byte, trust.MaxRootLength+1)), trust.ErrLength)
	r.Tamper("2.root.json")
	require.ErrorIs(t, trust.CheckRootUpdate(one, r.File("2.root.json")), trust.ErrSignature)
}

func TestRootsThatStopGoTUF(t *testing.T) {
	for _, root := range []string{
		`{"signed":{"_type":"root","roles":{"root":null}},"signatures":[]}`,
		`{"signed":{"_type":"root"},"signatures":[]}`,
		`{"signed":{"_type":"root","keys":{"k":null},"roles":` + allRoles + `},"signatures":[]}`,
		`{"signed":{"_type":"root","keys":{"k":{"keytype":"ed25519","scheme":"ed25519","keyval":{"public":"abcd"}}},"roles":` + allRoles + `},"signatures":[]}`,
		`{"signed":{"_type":"root"},"signatures":[` + strings.Repeat(`{},`, 1000) + `{}]}`,
	} {
		require.ErrorIs(t, trust.CheckRootUpdate(nil, []byte(root)), trust.ErrMalformed, root)
	}
}

// A key under the id of another one could pass for it: who reviews a root sees
// ids alone, and so does go-tuf when it counts signatures.
func TestKeyUnderAnotherID(t *testing.T) {
	r := trusttest.NewRepository(t)
	root, err := trust.Parse[metadata.RootType](r.Root())
	require.NoError(t, err)
	ids := root.Signed.Roles[metadata.TARGETS].KeyIDs
	other := root.Signed.Roles[metadata.SNAPSHOT].KeyIDs[0]
	require.NotEqual(t, ids[0], other)
	root.Signed.Keys[ids[0]] = root.Signed.Keys[other]
	b, err := root.ToBytes(false)
	require.NoError(t, err)
	_, err = trust.Parse[metadata.RootType](b)
	require.ErrorIs(t, err, trust.ErrMalformed)
	require.ErrorContains(t, err, "has another id")
}

func TestTargetsThatStopGoTUF(t *testing.T) {
	for _, rest := range []string{
		`"targets":{"a":null}`,
		`"delegations":{"keys":{"k":null}}`,
		`"delegations":{"keys":{},"succinct_roles":{"keyids":["k"],"threshold":1,"bit_length":1,"name_prefix":"a"}}`,
		`"delegations":{"keys":{},"roles":[{"name":"a","keyids":["k"],"threshold":1,"terminating":false,"paths":["a/*"]}]}`,
		`"delegations":{"keys":{},"roles":[{"name":"a","keyids":["k"],"threshold":1,"terminating":true,"path_hash_prefixes":["a"]}]}`,
		`"delegations":{"keys":{},"roles":[{"name":"root","keyids":["k"],"threshold":1}]}`, // would replace root.json
	} {
		_, err := trust.Parse[metadata.TargetsType]([]byte(`{"signed":{"_type":"targets",` + rest + `},"signatures":[]}`))
		require.ErrorIs(t, err, trust.ErrMalformed, rest)
	}
}

const allRoles = `{"root":{"keyids":["k"],"threshold":1},"targets":{"keyids":["k"],"threshold":1},` +
	`"snapshot":{"keyids":["k"],"threshold":1},"timestamp":{"keyids":["k"],"threshold":1}}`

func TestCheckOnlineKey(t *testing.T) {
	r := trusttest.NewRepository(t)
	require.NoError(t, trust.CheckOnlineKey(r.Root(), r.OnlineKey()))
	_, other, err := online.NewKey()
	require.NoError(t, err)
	require.ErrorIs(t, trust.CheckOnlineKey(r.Root(), other), trust.ErrSignature)
	require.ErrorIs(t, trust.CheckOnlineKey(r.Root(), []byte("key")), trust.ErrMalformed)
}

func TestCheckTargets(t *testing.T) {
	r, other := trusttest.NewRepository(t), trusttest.NewRepository(t)
	want := publish(r, "1.0.0")
	now := time.Now()
	got, err := trust.CheckTargets(r.Root(), r.Targets(), now)
	require.NoError(t, err)
	require.Equal(t, int64(2), got.Version)
	require.WithinDuration(t, now.Add(90*24*time.Hour), got.Expires, time.Minute)
	require.Equal(t, map[string]trust.Target{want.Path: want}, got.Targets)

	_, err = trust.CheckTargets(other.Root(), r.Targets(), now)
	require.ErrorIs(t, err, trust.ErrSignature)
	_, err = trust.CheckTargets(r.Root(), r.File("timestamp.json"), now)
	require.ErrorIs(t, err, trust.ErrMalformed)
	_, err = trust.CheckTargets(r.Root(), r.Targets(), now.Add(91*24*time.Hour))
	require.ErrorIs(t, err, trust.ErrExpired)
	_, err = trust.CheckTargets(r.Root(), r.Targets(), time.Time{})
	require.NoError(t, err)
}

func TestRootHash(t *testing.T) {
	require.Equal(t, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", trust.RootHash(nil))
}

func FuzzCheckRootUpdate(f *testing.F) {
	r := trusttest.NewRepository(f)
	r.RotateRoot(false)
	f.Add(r.Root())
	f.Add(r.File("2.root.json"))
	f.Add([]byte(`{"signed":{"_type":"root","roles":{"root":null}},"signatures":[]}`))
	f.Fuzz(func(t *testing.T, next []byte) {
		if trust.CheckRootUpdate(r.Root(), next) == nil && trust.CheckRootUpdate(nil, next) != nil {
			t.Fatal("accepted as a successor and not by itself")
		}
	})
}

func FuzzCheckTargets(f *testing.F) {
	r := trusttest.NewRepository(f)
	publish(r, "1.0.0")
	f.Add(r.Targets())
	f.Add(r.File("1.targets.json"))
	f.Add([]byte(`{"signed":{"_type":"targets","targets":{"a":null}},"signatures":[]}`))
	now := time.Now()
	f.Fuzz(func(t *testing.T, targets []byte) {
		s, err := trust.CheckTargets(r.Root(), targets, now)
		if err == nil && s.Version != 1 && s.Version != 2 {
			t.Fatalf("accepted version %d, which was never signed", s.Version)
		}
	})
}

// FuzzTarget is the face of the verifier towards a node: whatever it serves,
// the answer is an error or a target that was signed.
func FuzzTarget(f *testing.F) {
	r := trusttest.NewRepository(f)
	want := publish(r, "1.0.0")
	for _, name := range []string{"timestamp.json", "2.snapshot.json", "2.targets.json"} {
		f.Add(name, r.File(name))
		f.Add(name, []byte(`{"signed":{"_type":"timestamp","meta":{"snapshot.json":null}},"signatures":[]}`))
	}
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		v, err := trust.Open(t.TempDir(), r.Root())
		if err != nil {
			t.Fatal(err)
		}
		got, err := v.Target(t.Context(), serveInstead(r, name, data), want.Path)
		if err == nil && got != want {
			t.Fatalf("%+v was never signed", got)
		}
	})
}
