package node

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"redflag/api"
	"redflag/consensus/state"
	"redflag/durable"
	"redflag/telemetry"
	"redflag/trust/online"
	"redflag/trust/pki"
)

// Credential lets the CLI talk to a cluster. The first node writes one.
type Credential struct {
	Servers []string `json:"servers"`
	Token   string   `json:"token"`
	// Authorities is the PEM bundle that the servers' certificates are checked
	// with; empty for plain HTTP on loopback and for certificates of a public CA.
	Authorities string `json:"authorities,omitempty"`
}

// birth is what the first node of a cluster creates. It is on disk until the
// cluster is committed: a crash in between starts over.
type birth struct {
	ClusterID     string
	Authorities   []byte
	authority     *pki.Authority
	operatorToken string
	onlineKey     []byte // PKCS #8
	onlinePublic  []byte // PKIX
}

func (n *Node) path(elem ...string) string {
	return filepath.Join(append([]string{n.cfg.DataDir}, elem...)...)
}

// ensureMember loads this node's identity, or gets one: from the cluster that
// it is told to join, or by founding a new cluster, which it then returns.
func (n *Node) ensureMember(ctx context.Context) (*birth, error) {
	if err := n.discardHalfBirth(); err != nil {
		return nil, err
	}
	creds, err := pki.LoadCredentials(n.path("identity"))
	switch {
	case err == nil:
		n.creds = creds
		if n.sealingKey, err = os.ReadFile(n.path("identity", "sealing.key")); err != nil {
			return nil, fmt.Errorf("read sealing key: %w", err)
		}
		if id := creds.Identity(); id.ID != n.cfg.ID || id.Region != n.cfg.Region {
			return nil, api.Errorf(api.CodeInvalid, "%s belongs to node %s in region %s", n.cfg.DataDir, id.ID, id.Region).
				WithHint("start it with --id %s --region %s, or use an empty --data-dir", id.ID, id.Region)
		}
		return nil, nil
	case !errors.Is(err, pki.ErrNotEnrolled):
		return nil, err
	case len(n.cfg.Join) > 0:
		return nil, n.join(ctx)
	}
	return n.found()
}

func (n *Node) birthMark() string { return n.path("founding") }

// discardHalfBirth removes what a founding that never ended left behind.
// Nothing was acknowledged by then.
func (n *Node) discardHalfBirth() error {
	_, err := os.Stat(n.birthMark())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, dir := range []string{"identity", "cluster"} {
		if err := os.RemoveAll(n.path(dir)); err != nil {
			return fmt.Errorf("discard unfinished cluster: %w", err)
		}
	}
	// Without the mark, what this node becomes next is kept.
	if err := os.Remove(n.birthMark()); err != nil {
		return fmt.Errorf("discard unfinished cluster: %w", err)
	}
	return durable.SyncDir(n.cfg.DataDir)
}

// found makes the keys of a new cluster and this node's own identity.
func (n *Node) found() (*birth, error) {
	// A node whose identity is gone still has its cluster's state, which the next
	// start would take for a founding that never ended.
	if entries, err := os.ReadDir(n.path("cluster")); err == nil && len(entries) > 0 {
		return nil, api.Errorf(api.CodeConflict, "%s holds the state of a cluster, and in %s is no certificate with its key", n.path("cluster"), n.path("identity")).
			WithHint("put back cert.pem, ca.pem and key.pem from a backup, or join the cluster with an empty --data-dir; to found a new one, move the folder away")
	}
	if err := durable.WriteFile(n.birthMark(), nil, 0o600); err != nil {
		return nil, err
	}
	now := time.Now()
	b := &birth{ClusterID: "rf-" + shortID(), operatorToken: pki.NewSecret()}
	var err error
	if b.authority, err = pki.NewAuthority(b.ClusterID, now); err != nil {
		return nil, err
	}
	b.Authorities = b.authority.CertificatePEM()
	if b.onlineKey, b.onlinePublic, err = online.NewKey(); err != nil {
		return nil, err
	}
	csr, _, err := n.newCSR()
	if err != nil {
		return nil, err
	}
	cert, err := b.authority.Sign(csr, pki.Identity{
		ClusterID: b.ClusterID, Role: pki.RoleNode, ID: n.cfg.ID, Region: n.cfg.Region,
	}, certificateLife(api.Settings{}), now)
	if err != nil {
		return nil, err
	}
	return b, n.saveIdentity(cert, b.Authorities, pki.GenerateSealingKey())
}

func (n *Node) newCSR() (csr []byte, keyID string, err error) {
	if err := os.MkdirAll(n.path("identity"), 0o700); err != nil {
		return nil, "", err
	}
	key, err := pki.LoadOrCreateKey(n.path("identity", "key.pem"))
	if err != nil {
		return nil, "", err
	}
	if keyID, err = pki.KeyID(key.Public()); err != nil {
		return nil, "", err
	}
	csr, err = pki.NewCSR(key)
	return csr, keyID, err
}

// saveIdentity writes the sealing key first: LoadCredentials counts as
// enrolled from the moment the certificate is there.
func (n *Node) saveIdentity(cert, authorities, sealingKey []byte) error {
	if err := durable.WriteFile(n.path("identity", "sealing.key"), sealingKey, 0o600); err != nil {
		return err
	}
	if err := pki.SaveCredentials(n.path("identity"), cert, authorities); err != nil {
		return err
	}
	creds, err := pki.LoadCredentials(n.path("identity"))
	n.creds, n.sealingKey = creds, sealingKey
	return err
}

// commitBirth makes the new cluster durable in its own log and hands the
// operator a credential.
func (n *Node) commitBirth(ctx context.Context, b *birth) error {
	caKey, err := b.authority.MarshalKey()
	if err != nil {
		return err
	}
	sealedCA, err := n.sealer.Seal(caKey, sealCA)
	if err != nil {
		return err
	}
	sealedOnline, err := n.sealer.Seal(b.onlineKey, sealOnline)
	if err != nil {
		return err
	}
	_, err = n.propose(ctx, state.TypeInitCluster, state.InitCluster{
		ClusterID: b.ClusterID, Authorities: b.Authorities, SealedCAKey: sealedCA,
		SealedOnlineKey: sealedOnline, OnlineKeyPublic: b.onlinePublic,
		OperatorTokenHash: pki.HashSecret(b.operatorToken),
	})
	if err != nil {
		return fmt.Errorf("commit new cluster: %w", err)
	}
	_, keyID, err := n.newCSR()
	if err != nil {
		return err
	}
	_, err = n.propose(ctx, state.TypePutNode, state.PutNode{
		Node: api.Node{ID: n.cfg.ID, Region: n.cfg.Region, MeshAddr: n.meshAddr, KeyID: keyID},
	})
	if err != nil {
		return fmt.Errorf("commit first node: %w", err)
	}
	cred := Credential{Servers: []string{n.apiURL}, Token: b.operatorToken}
	if !n.cfg.apiIsLoopback() && n.cfg.APICert == "" {
		cred.Authorities = string(b.Authorities)
	}
	out, err := json.MarshalIndent(cred, "", "  ")
	if err != nil {
		return err
	}
	if err := durable.WriteFile(n.path("operator.json"), append(out, '\n'), 0o600); err != nil {
		return err
	}
	n.log.Info("new cluster founded", "cluster", b.ClusterID, "credential", n.path("operator.json"))
	return os.Remove(n.birthMark())
}

// join enrols with the token at the first node that answers, and keeps trying
// while none does. A refusal is final.
func (n *Node) join(ctx context.Context) error {
	if n.cfg.JoinToken == "" {
		return api.Errorf(api.CodeInvalid, "joining a cluster needs a token").
			WithHint("create one with: redflag token create --kind node; pass it with --token")
	}
	token, err := pki.ParseRegistrationToken(n.cfg.JoinToken)
	if err != nil {
		return err
	}
	roots, err := pki.TrustAnchor(token.CA)
	if err != nil {
		return err
	}
	csr, _, err := n.newCSR()
	if err != nil {
		return err
	}
	client := &api.Client{HTTP: &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: pki.NodeServerName, MinVersion: tls.VersionTLS13},
	}}}
	for _, addr := range n.cfg.Join {
		client.Servers = append(client.Servers, "https://"+addr)
	}
	req := api.EnrolNodeRequest{
		TokenID: token.ID, Secret: token.Secret, NodeID: n.cfg.ID, Region: n.cfg.Region, MeshAddr: n.meshAddr, NonVoter: n.cfg.NonVoter, CSR: csr,
	}
	ctx = api.WithCorrelation(ctx, "")
	for wait := time.Second; ; wait = min(2*wait, 30*time.Second) {
		var resp api.EnrolNodeResponse
		err := client.Do(ctx, http.MethodPost, "/v1/enrol/node", req, &resp)
		switch api.CodeOf(err) {
		case "":
			if err := n.savePeers(resp.Nodes); err != nil {
				return err
			}
			return n.saveIdentity(resp.Certificate, resp.Authorities, resp.SealingKey)
		case api.CodeUnavailable, api.CodeIndeterminate, api.CodeRateLimited, api.CodeBehind:
			telemetry.For(ctx, n.log).Warn("joining failed, trying again", telemetry.KeyError, err.Error(), "wait", wait.String())
		default:
			return fmt.Errorf("join: %w", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// savePeers keeps the addresses of the nodes that this one joins: until it has
// a vote of its own, its log does not name them.
func (n *Node) savePeers(nodes []api.NodeAddr) error {
	b, err := json.Marshal(nodes)
	if err != nil {
		return err
	}
	return durable.WriteFile(n.path("peers.json"), b, 0o600)
}

// firstPeers returns the addresses that savePeers kept, and those to join.
func (n *Node) firstPeers() []string {
	addrs := slices.Clone(n.cfg.Join)
	var nodes []api.NodeAddr
	if b, err := os.ReadFile(n.path("peers.json")); err == nil && json.Unmarshal(b, &nodes) == nil {
		for _, p := range nodes {
			addrs = append(addrs, p.Addr)
		}
	}
	return addrs
}

// authorityKey returns the public key of the first certificate of a bundle.
func authorityKey(bundle []byte) (ed25519.PublicKey, error) {
	block, _ := pem.Decode(bundle)
	if block == nil {
		return nil, errors.New("the CA bundle holds no certificate")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("parse CA certificate: %w", err)
	}
	key, ok := cert.PublicKey.(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("the CA key is of type %T", cert.PublicKey)
	}
	return key, nil
}

// shortID draws 16 letters and digits, enough to never meet twice.
func shortID() string {
	id := ulid.Make().String()
	return id[len(id)-16:]
}
