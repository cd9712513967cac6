package node

import (
	"crypto"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"redflag/api"
	"redflag/consensus/state"
	"redflag/telemetry"
	"redflag/trust"
	"redflag/trust/online"
)

func (n *Node) trustStatus(*http.Request) (any, error) {
	cluster, err := n.founded()
	if err != nil {
		return nil, err
	}
	return n.trustStatusOf(cluster), nil
}

func (n *Node) trustStatusOf(c state.Cluster) api.TrustStatus {
	return api.TrustStatus{
		ClusterID: c.ID, OnlineKey: c.OnlineKeyPublic, NextOnlineKey: c.NextOnlineKeyPublic, Versions: n.state().TrustVersions(),
	}
}

// founded returns what the cluster is founded on, as far as this node knows.
func (n *Node) founded() (state.Cluster, error) {
	cluster, ok := n.state().Cluster()
	if !ok {
		return cluster, api.Errorf(api.CodeUnavailable, "node %s has not caught up with the cluster yet", n.cfg.ID)
	}
	return cluster, nil
}

// nextOnlineKey draws the online key that the operator's next root is to name.
func (n *Node) nextOnlineKey(r *http.Request) (any, error) {
	private, public, err := online.NewKey()
	if err != nil {
		return nil, err
	}
	sealed, err := n.sealer.Seal(private, sealOnline)
	if err != nil {
		return nil, err
	}
	if _, err := n.propose(r.Context(), state.TypePutOnlineKey, state.PutOnlineKey{Sealed: sealed, Public: public}); err != nil {
		return nil, err
	}
	return n.trustStatus(r)
}

// updateTrust takes a new root or new targets from an operator. A root that
// names the next online key makes it the present one, and what it has to sign
// is signed in the same entry: agents never see one without the other.
func (n *Node) updateTrust(r *http.Request) (any, error) {
	var req api.TrustUpdate
	if err := body(r, &req); err != nil {
		return nil, err
	}
	entry := state.PutTrust{}
	root, _ := n.currentMetadata(state.RoleRoot)
	if len(req.Root) > 0 {
		var err error
		if entry.OnlineKey, err = n.checkRoot(root, req.Root); err != nil {
			return nil, err
		}
		root = req.Root
		entry.Root = &state.Metadata{Version: metadataVersion(req.Root), Bytes: req.Root}
	}
	if len(root) == 0 {
		return nil, noRoot()
	}
	targets := req.Targets
	if len(targets) == 0 {
		targets, _ = n.currentMetadata(state.RoleTargets)
	}
	if len(targets) == 0 {
		if len(req.Roles) > 0 {
			return nil, api.Errorf(api.CodeInvalid, "there are no targets that delegate anything")
		}
		_, err := n.propose(r.Context(), state.TypePutTrust, entry)
		return nil, err
	}
	summary, err := trust.CheckTargets(root, targets, time.Now())
	if err != nil {
		return nil, api.Errorf(api.CodeInvalid, "the targets metadata is refused: %v", err).
			WithHint("targets must be signed by the keys that the root names")
	}
	if len(req.Targets) > 0 {
		entry.Targets = &state.Metadata{Version: summary.Version, Bytes: targets}
	}
	if entry.Roles, err = checkRoles(targets, req.Roles); err != nil {
		return nil, err
	}
	signer, err := n.signerFor(entry.OnlineKey)
	if err != nil {
		return nil, err
	}
	err = n.signAndProposeAs(r.Context(), signer, offline{targets, req.Roles}, func(m signedMetadata) (state.EntryType, any) {
		entry.Snapshot, entry.Timestamp = &m.snapshot, &m.timestamp
		return state.TypePutTrust, entry
	})
	if err != nil {
		return nil, err
	}
	telemetry.For(r.Context(), n.log).Info("trust metadata updated", "targets_version", summary.Version,
		"root", entry.Root != nil, "online_key", entry.OnlineKey != nil, "roles", slices.Sorted(maps.Keys(req.Roles)))
	return nil, nil
}

// checkRoles verifies files of roles that targets delegate to.
func checkRoles(targets []byte, files map[string][]byte) (map[string]state.Metadata, error) {
	out := map[string]state.Metadata{}
	for role, file := range files {
		summary, err := trust.CheckDelegated(targets, role, file, time.Now())
		if err != nil {
			return nil, api.Errorf(api.CodeInvalid, "the metadata of role %.80q is refused: %v", role, err).
				WithHint("redflag keys status shows which keys may sign it, and what")
		}
		out[role] = state.Metadata{Version: summary.Version, Bytes: file}
	}
	return out, nil
}

// checkRoot verifies an operator's root. It returns the next online key where
// that is the one the root names.
func (n *Node) checkRoot(current, next []byte) (onlineKey []byte, err error) {
	if err := trust.CheckRootUpdate(current, next); err != nil {
		return nil, api.Errorf(api.CodeInvalid, "the root metadata is refused: %v", err)
	}
	cluster, err := n.founded()
	if err != nil {
		return nil, err
	}
	err = trust.CheckOnlineKey(next, cluster.OnlineKeyPublic)
	if err != nil && len(cluster.NextOnlineKeyPublic) > 0 && trust.CheckOnlineKey(next, cluster.NextOnlineKeyPublic) == nil {
		return cluster.NextOnlineKeyPublic, nil
	}
	if err != nil {
		return nil, api.Errorf(api.CodeInvalid, "the root metadata is for another cluster: %v", err).
			WithHint("make keys for this cluster with: redflag keys init")
	}
	return nil, nil
}

// signerFor returns the present online key, or the next one where a root has
// just named it.
func (n *Node) signerFor(next []byte) (crypto.Signer, error) {
	if next == nil {
		return n.onlineSigner()
	}
	cluster, err := n.founded()
	if err != nil {
		return nil, err
	}
	der, err := n.sealer.Open(cluster.SealedNextOnlineKey, sealOnline)
	if err != nil {
		return nil, fmt.Errorf("unseal next online key: %w", err)
	}
	return online.ParseKey(der)
}

func noRoot() error {
	return api.Errorf(api.CodeConflict, "the cluster has no TUF root yet").WithHint("create keys with: redflag keys init")
}

func (n *Node) tufFile(r *http.Request) (any, error) {
	b, ok := n.state().TrustFile(r.PathValue("file"))
	if !ok {
		return nil, api.Errorf(api.CodeNotFound, "there is no metadata file %q", r.PathValue("file"))
	}
	return rawAnswer{contentType: "application/json", body: b}, nil
}

// metadataVersion reads the version of TUF metadata that was already checked.
func metadataVersion(b []byte) int64 {
	var m struct {
		Signed struct {
			Version int64 `json:"version"`
		} `json:"signed"`
	}
	_ = json.Unmarshal(b, &m)
	return m.Signed.Version
}
