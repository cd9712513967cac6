package signing_test

import (
	"bytes"
	"crypto"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"redflag/trust"
	"redflag/trust/signing"
	"redflag/trust/trusttest"
)

// owner is who holds root and targets, behind a server of metadata and an agent's
// verifier that follows it.
type owner struct {
	*trusttest.Repository
	t     *testing.T
	agent *trust.Verifier
}

func newOwner(t *testing.T) owner {
	t.Helper()
	r := trusttest.NewRepository(t)
	agent, err := trust.Open(t.TempDir(), r.Root())
	require.NoError(t, err)
	return owner{r, t, agent}
}

// delegate changes what targets delegates, as acknowledged by the cluster.
func (o owner) delegate(c signing.DelegationChange) {
	o.t.Helper()
	staged, err := o.Keys().ChangeDelegation(signing.Staged{}, c, time.Now())
	require.NoError(o.t, err)
	require.NoError(o.t, o.Keys().Commit(staged.Targets))
}

// person is somebody with a key of their own and the owner's metadata.
func (o owner) person(name string) (*signing.Repository, signing.Key) {
	o.t.Helper()
	dir := o.t.TempDir()
	key, err := signing.NewKey(dir, name, signing.Options{})
	require.NoError(o.t, err)
	for file, data := range map[string][]byte{"1.root.json": o.Root(), "root.json": o.Keys().Root(), "targets.json": o.Keys().Targets()} {
		require.NoError(o.t, os.WriteFile(dir+"/"+file, data, 0o600))
	}
	return openAt(o.t, dir, signing.Options{}), key
}

// sync brings somebody's targets up to the owner's.
func (o owner) sync(r *signing.Repository) {
	o.t.Helper()
	require.NoError(o.t, r.Commit(o.Keys().Targets()))
}

func (o owner) installs(path string) error {
	_, err := o.agent.Target(o.t.Context(), o.Fetch, path)
	return err
}

func of(name, version string) []trust.Target {
	return []trust.Target{trusttest.Target(name, version, name, []byte(version), "0123456789abcdef0123456789abcdef01234567", 1<<18)}
}

// A key of its own publishes its product and nothing else; taken away, what it
// signed counts no more, and the next key goes on from its version.
func TestDelegatedKey(t *testing.T) {
	o := newOwner(t)
	dev, key := o.person("dev")
	o.delegate(signing.DelegationChange{Role: "app", Grant: []crypto.PublicKey{key.Public}})
	_, err := dev.AddTargets("app", nil, of("app", "1.0"), time.Now())
	require.ErrorContains(t, err, "delegates nothing", "the owner's word has to arrive first")
	o.sync(dev)
	first, err := dev.AddTargets("app", nil, of("app", "1.0"), time.Now())
	require.NoError(t, err)
	require.NoError(t, dev.CommitRole("app", first))
	o.ServeRole("app", first)
	require.NoError(t, o.installs("app/1.0"))
	second, err := dev.AddTargets("app", first, of("app", "1.1"), time.Now())
	require.NoError(t, err)
	require.NoError(t, dev.CommitRole("app", second))
	require.ErrorIs(t, dev.CommitRole("app", first), trust.ErrRollback)
	o.ServeRole("app", second)
	require.NoError(t, o.installs("app/1.0"))
	require.NoError(t, o.installs("app/1.1"))

	_, err = dev.AddTargets("app", second, of("tools", "1.0"), time.Now())
	require.ErrorContains(t, err, "may not sign")
	_, err = dev.AddTarget(nil, of("app", "2.0")[0], time.Now())
	require.ErrorIs(t, err, signing.ErrNoKeys, "it is no key of targets")

	next, other := o.person("next")
	o.delegate(signing.DelegationChange{Role: "app", Grant: []crypto.PublicKey{other.Public}, Revoke: []string{key.ID}})
	o.ServeRole("app", second)
	require.ErrorIs(t, o.installs("app/1.1"), trust.ErrSignature)
	o.sync(dev)
	o.sync(next)
	_, err = dev.AddTargets("app", second, of("app", "6.6"), time.Now())
	require.ErrorIs(t, err, signing.ErrNoKeys)
	made := bytes.Replace(second, []byte(`"version":2`), []byte(`"version":9223372036854775806`), 1)
	require.NotEqual(t, second, made)
	_, err = next.AddTargets("app", made, of("app", "1.2"), time.Now())
	require.ErrorIs(t, err, trust.ErrSignature, "of what nobody signed even the version does not count for ever")
	third, err := next.AddTargets("app", second, of("app", "1.2"), time.Now())
	require.NoError(t, err)
	o.ServeRole("app", third)
	require.NoError(t, o.installs("app/1.2"))
	require.ErrorIs(t, o.installs("app/1.1"), trust.ErrUnknownTarget, "nobody who counts has signed it")

	o.delegate(signing.DelegationChange{Role: "app", Remove: true})
	o.ServeRole("app", third)
	require.ErrorIs(t, o.installs("app/1.2"), trust.ErrUnknownTarget)
}

// Two of a role's keys must sign: the staged folder goes from one to the other, who
// reads what it is.
func TestDelegatedThreshold(t *testing.T) {
	o := newOwner(t)
	dev, one := o.person("dev")
	build, two := o.person("build")
	o.delegate(signing.DelegationChange{
		Role: "tools", Grant: []crypto.PublicKey{one.Public, two.Public}, Threshold: 2, Paths: []string{"tools/*", "tools-*/*"},
	})
	o.sync(dev)
	o.sync(build)
	file, err := dev.AddTargets("tools", nil, of("tools-extra", "1.0"), time.Now())
	require.ErrorIs(t, err, signing.ErrIncomplete)
	dir := t.TempDir()
	require.NoError(t, signing.Staged{Roles: map[string][]byte{"tools": file}}.Write(dir))
	staged, err := signing.ReadStaged(dir)
	require.NoError(t, err)
	require.False(t, complete(t, dev, staged))
	lines, err := build.Review(staged)
	require.NoError(t, err)
	require.Contains(t, strings.Join(lines, "\n"), "may be installed: tools-extra/1.0")
	staged, err = build.Sign(staged)
	require.NoError(t, err)
	require.True(t, complete(t, build, staged))
	o.ServeRole("tools", staged.Roles["tools"])
	require.NoError(t, o.installs("tools-extra/1.0"))

	require.NoError(t, dev.CommitRole("tools", staged.Roles["tools"]))
	renewed, err := dev.RenewRole(signing.Staged{}, "tools", nil, time.Now().Add(24*time.Hour))
	require.NoError(t, err)
	require.False(t, complete(t, dev, renewed))
	renewed, err = build.Sign(renewed)
	require.NoError(t, err)
	o.ServeRole("tools", renewed.Roles["tools"])
	require.NoError(t, o.installs("tools-extra/1.0"), "what was signed before is signed again")
}

// A signer sees whom the owner is about to trust with what.
func TestReviewOfDelegation(t *testing.T) {
	o := newOwner(t)
	_, key := o.person("dev")
	staged, err := o.Keys().ChangeDelegation(signing.Staged{}, signing.DelegationChange{Role: "app", Grant: []crypto.PublicKey{key.Public}}, time.Now())
	require.NoError(t, err)
	lines, err := o.Keys().Review(staged)
	require.NoError(t, err)
	require.Contains(t, strings.Join(lines, "\n"), "app may sign app/* with 1 signatures")
	require.Contains(t, strings.Join(lines, "\n"), "app gets key "+key.ID)
}

// A signer sees how something is to be installed, also where nothing else
// changed, and nothing that a terminal would act on.
func TestReviewOfHowATargetIsInstalled(t *testing.T) {
	o := newOwner(t)
	tool := of("tools", "1.0")[0]
	tool.Custom.FileName = "tools"
	signed, err := o.Keys().AddTarget(nil, tool, time.Now())
	require.NoError(t, err)
	require.NoError(t, o.Keys().Commit(signed))
	m, err := trust.Parse[metadata.TargetsType](signed)
	require.NoError(t, err)
	how := json.RawMessage(strings.Replace(string(*m.Signed.Targets[tool.Path].Custom), `"tools"`, `"evil \u001b[2K\u202e"`, 1))
	m.Signed.Targets[tool.Path].Custom = &how
	m.Signed.Version++
	staged, err := m.ToBytes(false)
	require.NoError(t, err)
	lines, err := o.Keys().Review(signing.Staged{Targets: staged})
	require.NoError(t, err)
	all := strings.Join(lines, "\n")
	require.Contains(t, all, "may be installed: "+tool.Path)
	require.Contains(t, all, "evil ")
	require.Contains(t, all, "until now: "+tool.Path)
	require.NotContains(t, all, "\x1b")
	require.NotContains(t, all, "\u202e")
}

func TestChangeDelegationRefuses(t *testing.T) {
	o := newOwner(t)
	_, key := o.person("dev")
	grant := []crypto.PublicKey{key.Public}
	for what, c := range map[string]signing.DelegationChange{
		"a role of no one":      {Role: "app"},
		"a name of root's":      {Role: "root", Grant: grant},
		"capitals":              {Role: "Snapshot", Grant: grant},
		"a name with a path":    {Role: "../app", Grant: grant},
		"everything":            {Role: "app", Grant: grant, Paths: []string{"*"}},
		"a class of signs":      {Role: "app", Grant: grant, Paths: []string{"[a-z]/*"}},
		"too high":              {Role: "app", Grant: grant, Threshold: 2},
		"an unknown key":        {Role: "app", Grant: grant, Revoke: []string{"none"}},
		"one that is not there": {Role: "app", Remove: true},
		"too many patterns":     {Role: "app", Grant: grant, Paths: make([]string, trust.MaxPatterns+1)},
	} {
		_, err := o.Keys().ChangeDelegation(signing.Staged{}, c, time.Now())
		require.Error(t, err, what)
	}
}
