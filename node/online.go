package node

import (
	"context"
	"crypto"
	"fmt"
	"strconv"
	"time"

	"redflag/api"
	"redflag/consensus/state"
	"redflag/telemetry"
	"redflag/trust/online"
)

// What the cluster's secrets are sealed for.
const (
	sealCA     = "cluster-ca"
	sealOnline = "tuf-online"
)

// signTries is how often signing is repeated when another node was faster.
const signTries = 5

type signedMetadata struct{ snapshot, timestamp state.Metadata }

// currentMetadata returns the metadata of role that is in force.
func (n *Node) currentMetadata(role string) ([]byte, bool) {
	version, ok := n.state().TrustVersions()[role]
	if !ok {
		return nil, false
	}
	name := role + ".json"
	if role != state.RoleTimestamp {
		name = strconv.FormatInt(version, 10) + "." + name
	}
	return n.state().TrustFile(name)
}

// offline is what the operators' keys signed and a snapshot is to name: targets, and
// files of delegated roles that are new.
type offline struct {
	targets []byte
	roles   map[string][]byte
}

// signAndPropose signs snapshot and timestamp over named and proposes the entry
// that make returns. The state machine accepts only the next versions,
// so that of two nodes that sign at once one is told to try again.
func (n *Node) signAndPropose(ctx context.Context, named offline, entry func(signedMetadata) (state.EntryType, any)) error {
	signer, err := n.onlineSigner()
	if err != nil {
		return err
	}
	return n.signAndProposeAs(ctx, signer, named, entry)
}

func (n *Node) signAndProposeAs(
	ctx context.Context, signer crypto.Signer, named offline, entry func(signedMetadata) (state.EntryType, any),
) error {
	for try := 1; ; try++ {
		before := n.state().TrustVersions()[state.RoleTimestamp]
		m, err := n.signOnline(signer, online.Sign, named)
		if err != nil {
			return err
		}
		typ, body := entry(m)
		_, err = n.propose(ctx, typ, body)
		overtaken := n.state().TrustVersions()[state.RoleTimestamp] != before
		if api.CodeOf(err) != api.CodeConflict || !overtaken || try == signTries {
			return err
		}
	}
}

// signOnline signs with sign what follows the metadata in force.
func (n *Node) signOnline(
	signer crypto.Signer, sign func(crypto.Signer, online.Current, time.Time) (snapshot, timestamp online.Metadata, err error), named offline,
) (signedMetadata, error) {
	snapshot, _ := n.currentMetadata(state.RoleSnapshot)
	timestamp, _ := n.currentMetadata(state.RoleTimestamp)
	s, t, err := sign(signer, online.Current{Targets: named.targets, Roles: named.roles, Snapshot: snapshot, Timestamp: timestamp}, time.Now())
	if err != nil {
		return signedMetadata{}, fmt.Errorf("sign snapshot and timestamp: %w", err)
	}
	return signedMetadata{
		snapshot:  state.Metadata{Version: s.Version, Bytes: s.Bytes},
		timestamp: state.Metadata{Version: t.Version, Bytes: t.Bytes},
	}, nil
}

// onlineSigner unseals the key of snapshot and timestamp.
func (n *Node) onlineSigner() (crypto.Signer, error) {
	cluster, ok := n.state().Cluster()
	if !ok {
		return nil, api.Errorf(api.CodeUnavailable, "node %s has not caught up with the cluster yet", n.cfg.ID)
	}
	der, err := n.sealer.Open(cluster.SealedOnlineKey, sealOnline)
	if err != nil {
		return nil, fmt.Errorf("unseal online key: %w", err)
	}
	return online.ParseKey(der)
}

// refreshOnline renews snapshot and timestamp at half their life. It runs on
// the leader, so that one node does it.
func (n *Node) refreshOnline(ctx context.Context) error {
	timestamp, ok := n.currentMetadata(state.RoleTimestamp)
	if !ok {
		return nil
	}
	snapshot, _ := n.currentMetadata(state.RoleSnapshot)
	due, err := online.NeedsRefresh(timestamp, snapshot, time.Now())
	if err != nil || !due {
		return err
	}
	targets, ok := n.currentMetadata(state.RoleTargets)
	if !ok {
		return nil
	}
	signer, err := n.onlineSigner()
	if err != nil {
		return err
	}
	m, err := n.signOnline(signer, online.Refresh, offline{targets: targets})
	if err != nil {
		return err
	}
	entry := state.PutTrust{Timestamp: &m.timestamp}
	if m.snapshot.Version != n.state().TrustVersions()[state.RoleSnapshot] {
		entry.Snapshot = &m.snapshot
	}
	_, err = n.propose(ctx, state.TypePutTrust, entry)
	if err == nil {
		telemetry.For(ctx, n.log).Info("timestamp renewed", "timestamp_version", m.timestamp.Version, "snapshot_version", m.snapshot.Version)
	}
	return err
}
