package node

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"redflag/api"
	"redflag/consensus/state"
	"redflag/p2p"
	"redflag/telemetry"
	"redflag/trust"
)

// A payload that was published and is nowhere to be had, until it is.
func TestHealthSeesAMissingPayload(t *testing.T) {
	t.Parallel()
	clock := &skewedClock{}
	r := startWith(t, func(c *Config) { c.Clock = clock.now })
	payload := bytes.Repeat([]byte("payload "), 10_000)
	sum := sha256.Sum256(payload)
	torrent, err := p2p.MakeTorrent(bytes.NewReader(payload), int64(len(payload)))
	require.NoError(t, err)
	target := trust.Target{Length: torrent.Length, SHA256: hex.EncodeToString(sum[:])}
	target.Custom.InfoHash, target.Custom.PieceLength = torrent.InfoHash, torrent.PieceLength
	meta := state.Metadata{Version: 1, Bytes: []byte("{}")}
	_, err = r.node.propose(t.Context(), state.TypePublishArtifact, state.PublishArtifact{
		Artifact: api.Artifact{
			Name: "app", Version: "1", Length: target.Length, SHA256: target.SHA256,
			InfoHash: torrent.InfoHash, PieceLength: torrent.PieceLength, OriginNode: "gone",
		},
		Targets: meta, Snapshot: meta, Timestamp: meta,
	})
	require.NoError(t, err)
	require.True(t, eventually(func() bool { return r.node.payloads.incomplete() == 1 }))
	r.becomes("swarm", api.StatusOK)
	clock.by.Store(int64(2 * fetchPatience))
	require.Contains(t, r.becomes("swarm", api.StatusWarn).Detail, "1 payloads are not complete")

	_, err = r.node.store(t.Context(), bytes.NewReader(payload), target.Length, target.SHA256)
	require.NoError(t, err)
	require.NoError(t, r.node.seedUpload(target))
	require.Contains(t, r.becomes("swarm", api.StatusOK).Detail, "seeding 1 payloads")
}

// A rollout that fails on the machines, until it is taken back.
func TestHealthSeesAFailingRollout(t *testing.T) {
	t.Parallel()
	r := start(t)
	m, other := r.member("a1"), r.member("a2")
	r.order("r1", api.Plan{}, m.id, other.id)
	r.becomes("queue", api.StatusOK)
	require.True(t, eventually(func() bool { return len(m.poll(api.PollRequest{Activity: api.ActivityIdle}).Commands) == 1 }))
	require.Nil(t, m.sends(api.Report{
		ID: "x", CommandID: api.CommandID("r1", m.id), State: api.StateRolledBack, At: time.Now(),
		Failure: &api.Failure{Class: api.ErrorHealth, Message: "exit 3"},
	}))
	require.Contains(t, r.becomes("queue", api.StatusWarn).Detail, "rollout r1 fails: 1 of 1")
	r.do("/v1/rollouts/r1/cancel", nil, nil)
	r.becomes("queue", api.StatusOK)
}

// A line that the spool cannot take is lost, and said to be for an hour.
func TestHealthSeesLostLines(t *testing.T) {
	t.Parallel()
	clock := &skewedClock{}
	out := telemetry.NewOutput(io.Discard)
	r := startWith(t, func(c *Config) {
		c.Clock, c.LogOutput = clock.now, out
		c.Logger = hclog.New(&hclog.LoggerOptions{Output: out, JSONFormat: true})
	})
	r.becomes("logs", api.StatusOK)
	r.node.log.Info(strings.Repeat("x", api.MaxLogLine))
	require.Contains(t, r.becomes("logs", api.StatusWarn).Detail, "1 lines of this node were lost")
	clock.by.Store(int64(lossRemembered + time.Minute))
	r.becomes("logs", api.StatusOK)
}
