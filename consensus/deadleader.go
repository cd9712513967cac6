package consensus

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/raft"

	"redflag/telemetry"
)

// A follower waits one to three timeouts before it doubts a silent leader, and
// refuses to vote for another until then. A leader whose process died is not
// silent, though: its connections close, and its port refuses new ones. Then an
// election can begin at once.
//
// This is a hint about when to vote and nothing else. Who may win is up to
// Raft, so a wrong hint costs one needless election and no write. It takes both
// signs, and comes once for each leader and term. A machine that lost power or
// its network gives neither, and is found by the timeout.
const (
	// staggerShare of the timeout lies between the elections that the
	// followers begin, in the order of their ids: at once they would split the
	// votes.
	staggerShare = 4
	// probeShare of the timeout is how long an accepted connection must stay
	// for the process behind it to count as alive.
	probeShare = 10
	probePause = 10 * time.Millisecond
)

// suspicious is a connection of a peer that tells when the peer ends it.
type suspicious struct {
	net.Conn
	ended func()
	once  sync.Once
}

// Read implements net.Conn.
func (c *suspicious) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, os.ErrDeadlineExceeded) {
		c.once.Do(c.ended)
	}
	return n, err
}

// Accept returns the next connection of a peer.
func (s *stream) Accept() (net.Conn, error) {
	conn, err := s.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &suspicious{Conn: conn, ended: s.cluster.suspect}, nil
}

// suspect has the leader looked at.
func (c *Cluster) suspect() {
	select {
	case c.suspicion <- struct{}{}:
	default: // that is about to happen
	}
}

// watchLeader looks at the leader whenever a peer has closed a connection.
func (c *Cluster) watchLeader() {
	var hinted uint64 // the term of the last leader that was found dead
	for {
		select {
		case <-c.suspicion:
		case <-c.ctx.Done():
			return
		}
		_, leader := c.raft.LeaderWithID()
		term := c.raft.CurrentTerm()
		turn, ok := c.turnAfter(string(leader))
		if !ok || term == hinted || !c.refuses(string(leader)) {
			continue
		}
		hinted = term
		pause(c.ctx, time.Duration(turn)*c.cfg.Timeout/staggerShare)
		if _, now := c.raft.LeaderWithID(); c.raft.State() != raft.Follower || (now != "" && now != leader) {
			continue // somebody was faster
		}
		c.cfg.Logger.Info("leader's process is gone, starting an election", telemetry.KeyNode, c.cfg.NodeID, "leader", leader)
		if err := c.stand(); err != nil {
			c.cfg.Logger.Debug("election not started", telemetry.KeyNode, c.cfg.NodeID, telemetry.KeyError, err)
		}
	}
}

// turnAfter returns the place of this node among those that may follow a dead
// leader, and false if it may not.
func (c *Cluster) turnAfter(leader string) (int, bool) {
	if leader == "" || leader == c.cfg.NodeID || c.raft.State() != raft.Follower {
		return 0, false
	}
	var ids []string
	for _, v := range c.Status().Voters {
		if v.ID != leader {
			ids = append(ids, v.ID)
		}
	}
	slices.Sort(ids)
	return slices.BinarySearch(ids, c.cfg.NodeID)
}

// refuses reports whether the ports of a node refuse connections, which means
// that its machine is there and its process is not. A process that is about to
// end may still accept one, and drops it.
func (c *Cluster) refuses(id string) bool {
	ctx, cancel := context.WithTimeout(c.ctx, c.cfg.Timeout)
	defer cancel()
	for ctx.Err() == nil {
		refused := 0
		addrs := c.addressesOf(id)
		for _, addr := range addrs {
			err := c.probe(ctx, id, addr)
			switch {
			case errors.Is(err, syscall.ECONNREFUSED):
				refused++
			case !ended(err):
				return false // alive, out of reach, or not who it was
			}
		}
		if len(addrs) > 0 && refused == len(addrs) {
			return true
		}
		pause(ctx, probePause)
	}
	return false
}

// probe connects to a node and waits a moment to see whether it stays.
func (c *Cluster) probe(ctx context.Context, id, addr string) error {
	conn, err := c.cfg.Dial(ctx, id, addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(c.cfg.Timeout / probeShare))
	_, err = conn.Read(make([]byte, 1)) // a node says nothing unasked
	return err
}

// stand makes this node a candidate now, as a leader does that hands over: the
// others vote although they had a leader a moment ago.
func (c *Cluster) stand() error {
	self := raft.ServerID(c.cfg.NodeID)
	req := raft.TimeoutNowRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(self)}}
	return c.transport.TimeoutNow(self, raft.ServerAddress(self), &req, &raft.TimeoutNowResponse{})
}
