package agent

import (
	"bytes"
	"crypto/tls"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"redflag/api"
	"redflag/p2p"
	"redflag/telemetry"
	"redflag/trust/pki"
)

// payload returns bytes that differ with seed.
func payload(seed uint64, size int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(seed)}).Read(b)
	return b
}

func TestInstallUpgradeAndRollBackOverTheSwarm(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.node("n1", "eu")
	one, two := payload(1, 900<<10), payload(2, 1<<20)
	c.publish("app", "1.0", one)
	c.publish("app", "2.0", two)
	cfg := c.config()
	var log bytes.Buffer
	cfg.Logger = telemetry.NewLogger("agent", &log, false)
	stop := start(t, cfg)

	first := c.await(c.order(api.KindInstall, "app", "1.0"))
	require.Equal(t, api.StateSucceeded, first.State, first.Failure)
	require.Equal(t, int64(len(one)), first.Transfer.FromNodes)
	require.Equal(t, string(one), current(t, cfg, "app"))

	upgrade := c.order(api.KindInstall, "app", "2.0")
	require.Equal(t, api.StateSucceeded, c.await(upgrade).State)
	require.Equal(t, string(two), current(t, cfg, "app"))

	again := c.await(c.order(api.KindInstall, "app", "2.0"))
	require.Equal(t, api.StateSucceeded, again.State)
	require.Nil(t, again.Transfer, "nothing was fetched")

	require.Equal(t, api.StateSucceeded, c.await(c.order(api.KindRollback, "app", "")).State)
	require.Equal(t, string(one), current(t, cfg, "app"))
	failed := c.await(c.order(api.KindRollback, "app", ""))
	require.Equal(t, api.ErrorNoPrevious, failed.Failure.Class)

	unknown := c.await(c.order("transmogrify", "app", ""))
	require.Equal(t, api.StateFailed, unknown.State)
	require.Equal(t, api.ErrorUnsupported, unknown.Failure.Class)

	states := []api.State{}
	for _, r := range c.reported(upgrade) {
		states = append(states, r.State)
	}
	require.Equal(t, []api.State{api.StateRunning, api.StateSucceeded}, states)
	stop()
	for _, cmd := range c.queue {
		require.Contains(t, log.String(), cmd.CorrelationID)
	}
	require.NotContains(t, log.String(), secret)
}

func TestInstallRefusals(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.node("n1", "eu")
	c.publish("app", "1.0", payload(1, 300<<10))
	good := payload(2, 300<<10)
	c.publish("app", "2.0", good)
	c.publish("app", "3.0", payload(3, 300<<10))
	cfg := c.config()
	start(t, cfg)
	require.Equal(t, api.StateSucceeded, c.await(c.order(api.KindInstall, "app", "2.0")).State)

	refused := func(version string, class api.ErrorClass, why string) {
		t.Helper()
		r := c.await(c.order(api.KindInstall, "app", version))
		require.Equal(t, api.StateFailed, r.State)
		require.Equal(t, class, r.Failure.Class, r.Failure.Message)
		require.Contains(t, r.Failure.Message, why)
		require.Equal(t, string(good), current(t, cfg, "app"), "the old version stays")
	}
	refused("1.0", api.ErrorDowngrade, "older than the installed 2.0")
	refused("latest", api.ErrorVerify, "malformed")

	// A target that was signed for bytes which the swarm does not carry.
	evil := payload(9, 300<<10)
	torrent, err := p2p.MakeTorrent(bytes.NewReader(evil), int64(len(evil)))
	require.NoError(t, err)
	c.seed(torrent, evil)
	c.repo.Publish("app", "4.0", "app.bin", payload(4, 300<<10), torrent.InfoHash, torrent.PieceLength)
	refused("4.0", api.ErrorVerify, "wrong hash")
	require.NoDirExists(t, filepath.Join(cfg.DataDir, "swarm", torrent.InfoHash), "it is not given to others")

	c.repo.Publish("app", "5.0", "app.bin", good, torrent.InfoHash, torrent.PieceLength)
	c.repo.Tamper("timestamp.json")
	refused("5.0", api.ErrorVerify, "not signed by the trusted keys")
	c.repo.RollBackTo(3) // from the time when 2.0 was the newest
	refused("3.0", api.ErrorVerify, "older than what was already seen")
}

func TestLostReplyRunsACommandOnce(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	n := c.node("n1", "eu")
	c.publish("app", "1.0", payload(1, 300<<10))
	c.loseReply = 1
	start(t, c.config())
	id := c.order(api.KindInstall, "app", "1.0")
	require.Equal(t, api.StateSucceeded, c.await(id).State)

	// The cluster forgets the outcome and asks again, as after a lost report.
	c.set(func() { c.reports = nil })
	again := c.await(id)
	require.Equal(t, api.StateSucceeded, again.State)
	require.Len(t, c.reported(id), 1, "answered from the journal, not run")
	require.Positive(t, n.polled)
}

func TestReportsSurviveARestartUntilAccepted(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	n := c.node("n1", "eu")
	c.publish("app", "1.0", payload(1, 300<<10))
	cfg := c.config()
	c.falter = true // hands out one command, then fails every poll
	stop := start(t, cfg)
	id := c.order(api.KindInstall, "app", "1.0")
	link := filepath.Join(cfg.DataDir, "artifacts", "app", "current")
	require.Eventually(t, func() bool { _, err := os.Stat(link); return err == nil }, 10*time.Second, time.Millisecond)
	stop()
	j := testJournal(t, filepath.Join(cfg.DataDir, "journal.db"))
	require.Len(t, outbox(t, j), 2)
	require.NoError(t, j.close())
	require.Empty(t, c.reported(id))

	// Nobody but the data directory and one live node is needed to go on.
	cfg.Nodes, cfg.Token, cfg.ID, cfg.Region = nil, "", "", ""
	c.set(func() { n.broken, c.falter = false, false })
	start(t, cfg)
	require.Equal(t, api.StateSucceeded, c.await(id).State)
	require.Len(t, c.reported(id), 2)
	require.Equal(t, 1, c.enrolled)
}

func TestCancelledCommandStops(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	n := c.node("n1", "eu")
	target := c.publish("app", "1.0", payload(1, 300<<10))
	require.NoError(t, n.swarm.Remove(target.Custom.InfoHash)) // the download waits for ever
	cfg := c.config()
	start(t, cfg)
	c.set(func() { c.refuse = true })
	c.order(api.KindInstall, "app", "1.0")
	idle := func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		last := len(c.polls) - 1
		return last > 0 && len(c.polls[last].Held) == 0 && len(c.polls[last-1].Held) == 1
	}
	require.Eventually(t, idle, 10*time.Second, time.Millisecond)
	require.NoDirExists(t, filepath.Join(cfg.DataDir, "artifacts", "app", "current"))
}

func TestFailoverAndReturn(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	near, far := c.node("n1", "eu"), c.node("n2", "us")
	cfg := c.config()
	cfg.Nodes = cfg.Nodes[:1]
	start(t, cfg)
	count := func(n *fakeNode) (polled int) {
		c.set(func() { polled = n.polled })
		return polled
	}
	require.Eventually(t, func() bool { return count(near) >= 3 }, 10*time.Second, time.Millisecond)
	require.Zero(t, count(far), "the own region comes first")

	c.set(func() { near.broken = true })
	require.Eventually(t, func() bool { return count(far) >= 2 }, 10*time.Second, time.Millisecond)
	c.set(func() { near.broken = false })
	before := count(near)
	require.Eventually(t, func() bool { return count(near) >= before+2 }, 20*time.Second, time.Millisecond)
	near.stop()
	before = count(far)
	require.Eventually(t, func() bool { return count(far) >= before+1 }, 10*time.Second, time.Millisecond)
}

func TestSettingsApplyLiveAndAfterARestart(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.node("n1", "eu")
	c.settings = &api.AgentSettings{Version: 7, Debug: true, DownloadLimit: 8e6, UploadLimit: 1e6}
	cfg := c.config()
	cfg.UploadLimit = 5e5
	cfg.Logger = telemetry.NewLogger("agent", &bytes.Buffer{}, false)
	stop := start(t, cfg)
	require.Eventually(t, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.polls) > 1 && c.polls[len(c.polls)-1].SettingsVersion == 7
	}, 10*time.Second, time.Millisecond)
	require.True(t, cfg.Logger.IsDebug())
	stop()

	kept, err := loadLearnt(filepath.Join(cfg.DataDir, "learnt.json"))
	require.NoError(t, err)
	l := newLimits(&cfg)
	l.apply(kept.Settings)
	require.Equal(t, api.Rate(8e6), l.download.Rate())
	require.Equal(t, api.Rate(5e5), l.upload.Rate(), "the machine's own cap is stricter")
}

func TestTwoAgentsOnOneDirectory(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.node("n1", "eu")
	cfg := c.config()
	start(t, cfg)
	require.Eventually(t, func() bool { return c.count() > 0 }, 10*time.Second, time.Millisecond)
	second, err := New(cfg)
	require.NoError(t, err)
	err = second.Run(t.Context())
	require.Equal(t, api.CodeConflict, api.CodeOf(err))
	require.ErrorContains(t, err, "another agent runs on")
}

func (c *cluster) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.polls)
}

func TestPoisonedStoreIsMended(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	n := c.node("n1", "eu")
	old := payload(1, 300<<10)
	c.publish("app", "1.0", old)
	target := c.publish("app", "2.0", payload(2, 300<<10))
	cfg := c.config()
	stop := start(t, cfg)
	require.Equal(t, api.StateSucceeded, c.await(c.order(api.KindInstall, "app", "1.0")).State)
	stop()

	// Somebody on the machine writes into the store before the install.
	log, creds := hclog.NewNullLogger(), c.member(pki.RoleAgent, "a1", "eu")
	conf := func(string) *tls.Config { return creds.NodeClientTLS(pki.ALPNHTTP) }
	cfg.Logger = log
	s := &swarm{cfg: &cfg, creds: creds, limits: newLimits(&cfg), log: log}
	s.mesh = newMesh(newNodeList("eu", []string{n.addr.Addr}, nil), conf, log)
	_, err := s.fetch(t.Context(), target, func(api.Transfer) {})
	require.NoError(t, err)
	require.NoError(t, s.close())
	data, err := filepath.Glob(filepath.Join(cfg.DataDir, "swarm", target.Custom.InfoHash, "data*"))
	require.NoError(t, err)
	require.Len(t, data, 1)
	f, err := os.OpenFile(data[0], os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte("evil"), 1000)
	require.NoError(t, err)
	require.NoError(t, f.Close())

	start(t, cfg)
	r := c.await(c.order(api.KindInstall, "app", "2.0"))
	require.Equal(t, api.StateSucceeded, r.State, "the piece is fetched again: %v", r.Failure)
	require.Equal(t, string(payload(2, 300<<10)), current(t, cfg, "app"))
}
