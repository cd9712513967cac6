package online_test

import (
	"crypto"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"redflag/trust"
	"redflag/trust/online"
	"redflag/trust/trusttest"
)

func newSigner(t *testing.T) crypto.Signer {
	t.Helper()
	private, _, err := online.NewKey()
	require.NoError(t, err)
	signer, err := online.ParseKey(private)
	require.NoError(t, err)
	return signer
}

func TestSignCountsUp(t *testing.T) {
	signer, repo, now := newSigner(t), trusttest.NewRepository(t), time.Now()
	old := repo.Targets()
	state := online.Current{Targets: old}
	for want := int64(1); want <= 3; want++ {
		snapshot, timestamp, err := online.Sign(signer, state, now)
		require.NoError(t, err)
		require.Equal(t, []int64{want, want}, []int64{snapshot.Version, timestamp.Version})
		state.Snapshot, state.Timestamp = snapshot.Bytes, timestamp.Bytes
	}
	m, err := trust.Parse[metadata.SnapshotType](state.Snapshot)
	require.NoError(t, err)
	require.Equal(t, int64(1), m.Signed.Meta["targets.json"].Version)
	require.NoError(t, m.Signed.Meta["targets.json"].VerifyLengthHashes(old))

	repo.Publish("app", "1", "app", []byte("x"), "0123456789abcdef0123456789abcdef01234567", 1<<18)
	state.Targets = repo.Targets()
	snapshot, _, err := online.Sign(signer, state, now)
	require.NoError(t, err)
	state.Targets, state.Snapshot = old, snapshot.Bytes
	_, _, err = online.Sign(signer, state, now)
	require.ErrorIs(t, err, trust.ErrRollback, "older targets are never signed")
}

func TestRefresh(t *testing.T) {
	signer, targets, start := newSigner(t), trusttest.NewRepository(t).Targets(), time.Now()
	snapshot, timestamp, err := online.Sign(signer, online.Current{Targets: targets}, start)
	require.NoError(t, err)
	state := online.Current{Targets: targets, Snapshot: snapshot.Bytes, Timestamp: timestamp.Bytes}

	for _, tc := range []struct {
		after               time.Duration
		needed              bool
		snapshot, timestamp int64 // versions after a refresh
	}{
		{0, false, 1, 2},
		{11 * time.Hour, false, 1, 2},
		{13 * time.Hour, true, 1, 2},
		{3 * 24 * time.Hour, true, 1, 2},
		{4 * 24 * time.Hour, true, 2, 2},
		{30 * 24 * time.Hour, true, 2, 2}, // the cluster was off for a month
	} {
		now := start.Add(tc.after)
		needed, err := online.NeedsRefresh(state.Timestamp, state.Snapshot, now)
		require.NoError(t, err)
		require.Equal(t, tc.needed, needed, tc.after)
		snapshot, timestamp, err := online.Refresh(signer, state, now)
		require.NoError(t, err)
		require.Equal(t, []int64{tc.snapshot, tc.timestamp}, []int64{snapshot.Version, timestamp.Version}, tc.after)
		needed, err = online.NeedsRefresh(timestamp.Bytes, snapshot.Bytes, now)
		require.NoError(t, err)
		require.False(t, needed, tc.after)
	}
}

func TestBadInput(t *testing.T) {
	_, err := online.ParseKey([]byte("not a key"))
	require.Error(t, err)
	_, public, err := online.NewKey()
	require.NoError(t, err)
	_, err = online.ParseKey(public)
	require.Error(t, err)
	signer, now := newSigner(t), time.Now()
	_, _, err = online.Sign(signer, online.Current{}, now)
	require.ErrorIs(t, err, trust.ErrMalformed)
	_, _, err = online.Refresh(signer, online.Current{}, now)
	require.ErrorIs(t, err, trust.ErrMalformed)
	_, err = online.NeedsRefresh(nil, nil, now)
	require.ErrorIs(t, err, trust.ErrMalformed)
}
