package publish

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"redflag/api"
	"redflag/trust"
	"redflag/trust/signing"
	"redflag/trust/trusttest"
)

// What waits for signers is not replaced by something else, and a repeat keeps
// the signatures that it has.
func TestStagingKeepsWhatIsStaged(t *testing.T) {
	repo := trusttest.NewRepository(t)
	p := &Publisher{Dir: t.TempDir(), Keys: repo.Keys()}
	target := func(version string) []trust.Target {
		return []trust.Target{trusttest.Target("app", version, "app", []byte(version), "0123456789abcdef0123456789abcdef01234567", 1<<18)}
	}
	stage := func(ts []trust.Target) error {
		file, err := repo.Keys().AddTargets(trust.RoleTargets, nil, ts, time.Now())
		require.NoError(t, err)
		return p.stage(file, ts, signing.ErrIncomplete)
	}
	dir := signing.StagedDir(p.Dir)
	require.ErrorIs(t, stage(target("1.0.0")), signing.ErrIncomplete)
	first, err := signing.ReadStaged(dir)
	require.NoError(t, err)
	time.Sleep(time.Second) // a repeat has another date
	require.ErrorIs(t, stage(target("1.0.0")), signing.ErrIncomplete)
	require.Equal(t, api.CodeConflict, api.CodeOf(stage(target("2.0.0"))))
	still, err := signing.ReadStaged(dir)
	require.NoError(t, err)
	require.Equal(t, first, still)

	require.NoError(t, repo.Keys().Commit(first.Targets))
	require.ErrorIs(t, stage(target("2.0.0")), signing.ErrIncomplete, "what is published waits for nobody")

	require.NoError(t, signing.Staged{Root: repo.Keys().Root()}.Write(dir))
	require.ErrorIs(t, stage(target("2.0.0")), signing.ErrIncomplete, "that root is in force")
	root, err := trust.Parse[metadata.RootType](repo.Keys().Root())
	require.NoError(t, err)
	root.Signed.Version++
	next, err := root.ToBytes(false)
	require.NoError(t, err)
	require.NoError(t, signing.Staged{Root: next}.Write(dir))
	require.Equal(t, api.CodeConflict, api.CodeOf(stage(target("2.0.0"))), "a change of root waits")
}
