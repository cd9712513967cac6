package consensus

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"redflag/consensus/state"
)

// Config is what one node needs to take part. Fields without a default are
// required.
type Config struct {
	// NodeID names the node for all time.
	NodeID string
	// Addr is where the other nodes reach Listener, as Dial understands it.
	Addr string
	// Dir holds the log, the snapshots and the state. It is created.
	Dir string
	// Listener yields connections of peers that the caller has authenticated.
	// Close closes it.
	Listener net.Listener
	// Dial opens a connection to the Listener at addr, and fails unless it is
	// that of the node with this id: Raft does not say whom its messages are
	// for, and another node at a stale address would acknowledge them.
	Dial func(ctx context.Context, id, addr string) (net.Conn, error)
	// Forward carries a proposal to the leader's HandleForward and returns its
	// answer. An error that says that nothing was proposed, CodeUnavailable,
	// CodeBehind or CodeRateLimited, has the proposal tried again; CodeDenied
	// and CodeUnauthenticated are Propose's error; any other means that the
	// outcome is unknown. Without it only the leader can propose.
	Forward func(ctx context.Context, leaderID, leaderAddr string, body []byte) ([]byte, error)
	// Timeout is the heartbeat and the election timeout: 10 times the largest
	// round trip, 1 s by default. The leader's lease is half of it.
	Timeout time.Duration
	// SnapshotThreshold is how many entries call for a snapshot, by default
	// 16,384. Four times as many stay in the log behind it: a follower that
	// lacks older ones gets the snapshot instead.
	SnapshotThreshold uint64
	// Level is the newest level of entries that this node announces, and that
	// the cluster may come to use: state.Level by default.
	Level int
	// Now is the clock that stamps entries on the leader, time.Now by default.
	Now func() time.Time
	// Applied is told of each change that somebody asked for, once it is part of
	// this node's state, with the id of the request that it came from. It is
	// called between two changes and must be quick.
	Applied func(index uint64, what, correlation string)
	// Ended is told of the commands that a change has ended, on the leader alone,
	// so that each is counted in one place. It must be quick as well.
	Ended func([]state.Outcome)
	// Logger is where Raft logs too, by default nowhere.
	Logger hclog.Logger

	stateFS vfs.FS // a test's, that can lose power
}

const (
	defaultTimeout           = time.Second
	defaultSnapshotThreshold = 16 << 10
	trailingFactor           = 4 // see hashicorp/raft #697
	snapshotInterval         = 30 * time.Second
)

func (c Config) withDefaults() (Config, error) {
	if c.NodeID == "" || c.Addr == "" || c.Dir == "" || c.Listener == nil || c.Dial == nil {
		return c, errors.New("consensus needs a node id, an address, a folder, a listener and a dialer")
	}
	return c.filled(), nil
}

// filled returns c with its defaults.
func (c Config) filled() Config {
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.SnapshotThreshold == 0 {
		c.SnapshotThreshold = defaultSnapshotThreshold
	}
	if c.Level == 0 {
		c.Level = state.Level
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	if c.stateFS == nil {
		c.stateFS = vfs.Default
	}
	return c
}

func (c Config) raft(notify chan<- bool) *raft.Config {
	r := raft.DefaultConfig()
	r.LocalID = raft.ServerID(c.NodeID)
	r.HeartbeatTimeout = c.Timeout
	r.ElectionTimeout = c.Timeout
	r.LeaderLeaseTimeout = c.Timeout / 2
	r.SnapshotThreshold = c.SnapshotThreshold
	r.SnapshotInterval = snapshotInterval
	r.TrailingLogs = trailingFactor * c.SnapshotThreshold
	r.NotifyCh = notify
	r.Logger = c.Logger.Named("raft")
	// The state is on disk already; storage.catchUp restores it when it is
	// older than the newest snapshot.
	r.NoSnapshotRestoreOnStart = true
	r.NoLegacyTelemetry = true
	return r
}
