package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"redflag/api"
	"redflag/consensus/state"
	"redflag/telemetry"
	"redflag/trust/pki"
)

// identityEvery is how often a node looks whether its own certificate or the
// CA bundle has to change.
const identityEvery = 200 * time.Millisecond

// keepIdentity follows the replicated CA bundle and renews this node's own
// certificate, which it signs itself: every node can open the CA's key.
func (n *Node) keepIdentity(ctx context.Context) error {
	seen := uint64(0)
	for {
		if v := n.state().RevocationVersion(); v != seen {
			seen = v
			if cut := n.mesh.live.cut(n.revoked); cut > 0 {
				n.log.Info("connections of members that were put out are cut", "connections", cut)
			}
		}
		if cluster, ok := n.state().Cluster(); ok {
			if err := n.followCA(cluster); err != nil {
				n.log.Error("own certificate not kept up", telemetry.KeyError, err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(identityEvery):
		}
	}
}

// revoked asks the state of this moment: a restored snapshot is another one.
func (n *Node) revoked(keyID string) bool { return n.state().Revoked(keyID) }

// followCA makes this node's credentials what the cluster says they should be.
// The bundle changes first, so that a new certificate always has its authority
// in it.
func (n *Node) followCA(cluster state.Cluster) error {
	infos, err := pki.Bundle(cluster.Authorities)
	if err != nil {
		return err
	}
	// One that has not begun was made while this node's clock ran ahead.
	if now := time.Now(); n.creds.RenewalDue(infos[0].ID, now) || now.Before(n.creds.Begins()) {
		csr, err := n.creds.CSR()
		if err != nil {
			return err
		}
		cert, _, err := n.certify(csr, pki.RoleNode, n.cfg.ID, n.cfg.Region)
		if err != nil {
			return err
		}
		if err := n.creds.Renew(cert, cluster.Authorities); err != nil {
			return err
		}
		n.log.Info("own certificate renewed", "issuer", infos[0].ID, "until", n.creds.Expires().UTC().Format(time.RFC3339))
	}
	if !bytes.Equal(n.creds.Authorities(), cluster.Authorities) {
		if err := n.creds.Renew(nil, cluster.Authorities); err != nil {
			return err
		}
		n.log.Info("CA bundle changed", "authorities", len(infos), "stage", string(cluster.CAStage))
	}
	if !bytes.Equal(n.savedIssuer, cluster.SealedCAKey) {
		if err := n.creds.SaveIssuer(cluster.SealedCAKey); err != nil {
			return err
		}
		n.savedIssuer = cluster.SealedCAKey
	}
	node, _ := n.state().Node(n.cfg.ID)
	n.confirm(state.Confirmation{Version: node.Confirmed, Issuer: node.Issuer},
		state.Confirmation{Node: true, ID: n.cfg.ID, Version: cluster.CAVersion, Issuer: n.creds.Issuer()})
	return nil
}

// reviveIdentity renews a certificate that ran out while the node was off, or that
// a clock which ran ahead has begun in the future, from the sealed key that the
// node keeps: with every node off for that long, none could reach the others to
// learn anything.
func (n *Node) reviveIdentity() error {
	now := time.Now()
	if now.Before(n.creds.Begins()) {
		// Or this clock is behind, which is put right while the node runs.
		if err := n.renewByItself(); err != nil {
			n.log.Warn("own certificate has not begun and is not renewed: is the clock right?", telemetry.KeyError, err)
		}
		return nil
	}
	if now.Before(n.creds.Expires()) {
		return nil
	}
	return n.renewByItself()
}

// renewByItself signs this node's next certificate with the saved key of the CA.
func (n *Node) renewByItself() error {
	sealed, err := n.creds.SavedIssuer()
	if errors.Is(err, fs.ErrNotExist) {
		return api.Errorf(api.CodeUnauthenticated, "this node's certificate holds from %s to %s",
			n.creds.Begins().UTC().Format(time.RFC3339), n.creds.Expires().UTC().Format(time.RFC3339)).
			WithHint("let it join again: --join HOST:PORT --token TOKEN with an empty --data-dir")
	}
	if err != nil {
		return err
	}
	key, err := n.sealer.Open(sealed, sealCA)
	if err != nil {
		return err
	}
	authority, err := pki.ParseIssuer(n.creds.Authorities(), key)
	if err != nil {
		return fmt.Errorf("renew expired certificate: %w", err)
	}
	csr, err := n.creds.CSR()
	if err != nil {
		return err
	}
	cert, err := authority.Sign(csr, n.creds.Identity(), certificateLife(api.Settings{}), time.Now())
	if err != nil {
		return err
	}
	n.log.Info("own certificate did not hold and is renewed")
	return n.creds.Renew(cert, nil)
}

// certificateLife is the setting, for a member's next certificate.
func certificateLife(s api.Settings) time.Duration { return s.Duration(api.SettingCertificateLife) }

func (n *Node) certificateLife() time.Duration { return certificateLife(n.state().Settings()) }
