package agent

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"redflag/api"
	"redflag/durable"
	"redflag/telemetry"
	"redflag/trust/pki"
)

const (
	maxRevocations    = 1 << 20 // bytes of the file
	maxRevokedMembers = 1 << 14
)

// membership is what the agent believes of the cluster beyond its first
// certificate: the CA bundle, who was put out, and its own renewal. It is safe
// for concurrent use.
type membership struct {
	dir     string
	creds   *pki.Credentials
	machine string
	clock   *clock
	log     hclog.Logger

	mu          sync.Mutex
	revoked     revocations
	authorities uint64 // version of the CA bundle; 0 asks for it
	incidents   []api.Incident
}

// revocations is the list that the agent keeps beside its certificate.
type revocations struct {
	Version uint64   `json:"version"`
	KeyIDs  []string `json:"key_ids"`
}

func newMembership(dataDir string, creds *pki.Credentials, machine string, c *clock, log hclog.Logger) (*membership, error) {
	m := &membership{dir: filepath.Join(dataDir, "identity"), creds: creds, machine: machine, clock: c, log: log}
	b, err := durable.ReadFile(m.revokedPath(), maxRevocations)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read revocations: %w", err)
	}
	if err == nil && json.Unmarshal(b, &m.revoked) != nil {
		m.revoked = revocations{} // version 0 brings the whole list again
	}
	creds.SetRevoked(m.isRevoked)
	return m, nil
}

func (m *membership) revokedPath() string { return filepath.Join(m.dir, "revoked.json") }

func (m *membership) isRevoked(keyID string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Contains(m.revoked.KeyIDs, keyID)
}

// seen is what a poll tells a node, with a request for a new certificate once
// two thirds of the present one's life are over.
func (m *membership) seen() (api.TrustSeen, error) {
	m.mu.Lock()
	s := api.TrustSeen{Authorities: m.authorities, Revoked: m.revoked.Version, Machine: m.machine}
	m.mu.Unlock()
	if !m.creds.RenewalDue("", time.Now()) && !m.issuerChanged() {
		return s, nil
	}
	csr, err := m.creds.CSR()
	s.CSR = csr
	return s, err
}

// issuerChanged reports whether the first authority of the bundle, the one that
// signs, is not the one that signed the agent's certificate.
func (m *membership) issuerChanged() bool {
	infos, err := pki.Bundle(m.creds.Authorities())
	return err == nil && infos[0].ID != m.creds.Issuer()
}

// learn takes over what a node says has changed. It reports whether the
// certificate changed, so that connections are made anew.
func (m *membership) learn(news *api.TrustNews) (reconnect bool, err error) {
	if news == nil {
		return false, nil
	}
	if news.Authorities != nil || news.Certificate != nil {
		if err := m.creds.Renew(news.Certificate, news.Authorities); err != nil {
			return false, err
		}
		m.log.Info("certificate or CA bundle renewed", "issuer", m.creds.Issuer(), "until", m.creds.Expires().UTC().Format(time.RFC3339))
		m.mu.Lock()
		if news.Authorities != nil {
			m.authorities = news.AuthoritiesVersion
		}
		m.mu.Unlock()
	}
	if news.RevokedVersion != 0 {
		if err := m.learnRevoked(news); err != nil {
			return false, err
		}
	}
	return news.Certificate != nil, nil
}

func (m *membership) learnRevoked(news *api.TrustNews) error {
	if len(news.Revoked) > maxRevokedMembers {
		return fmt.Errorf("%d revocations are too many", len(news.Revoked))
	}
	next := revocations{Version: news.RevokedVersion, KeyIDs: news.Revoked}
	b, err := json.Marshal(next)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(m.revokedPath(), b, 0o600); err != nil {
		return fmt.Errorf("keep revocations: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.revoked = next
	m.log.Info("revocation list changed", "revoked", len(next.KeyIDs))
	return nil
}

// orders keeps the commands that a node of the cluster signed for this agent,
// as they were signed, and remembers the others as incidents.
func (m *membership) orders(cmds []api.Command) []api.Command {
	var out []api.Command
	for _, cmd := range cmds {
		signed, by, err := m.creds.VerifyOrder(cmd.Order, m.clock.now())
		if err == nil && (signed.ID == "" || len(signed.ID) > maxCommandID) {
			err = fmt.Errorf("%w: its id is not valid", pki.ErrOrder)
		}
		if err != nil {
			id := cmd.ID[:min(len(cmd.ID), maxCommandID)]
			m.log.Warn("command refused", telemetry.KeyCommand, id, "from", by.ID, telemetry.KeyError, err)
			m.refused(api.Incident{Class: "order", Detail: err.Error(), Command: id, Node: by.ID})
			continue
		}
		out = append(out, signed)
	}
	return out
}

// refused remembers something for the audit log, until a poll has carried it.
func (m *membership) refused(i api.Incident) {
	i.At = time.Now().UTC()
	if len(i.Detail) > maxMessage {
		i.Detail = i.Detail[:maxMessage]
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	told := slices.ContainsFunc(m.incidents, func(o api.Incident) bool {
		return o.Class == i.Class && o.Detail == i.Detail && o.Command == i.Command
	})
	if !told && len(m.incidents) < api.MaxIncidents {
		m.incidents = append(m.incidents, i)
	}
}

func (m *membership) pending() []api.Incident {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.incidents)
}

// told forgets the first n incidents: a node has them.
func (m *membership) told(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.incidents = slices.Delete(m.incidents, 0, min(n, len(m.incidents)))
}

// revive gets a new certificate when the old one does not hold: it ended while the
// machine was off. A node gives one to the enrolled key, whoever asks.
func (m *membership) revive(ctx context.Context, nodes *nodeList) error {
	csr, err := m.creds.CSR()
	if err != nil {
		return err
	}
	stranger := newMesh(nodes, func(string) *tls.Config { return m.creds.StrangerTLS(pki.ALPNHTTP) }, m.log)
	defer stranger.close()
	var resp api.RenewResponse
	err = stranger.each(ctx, anotherMight, func(ctx context.Context, _ api.NodeAddr, c *api.Client) error {
		return c.Do(ctx, http.MethodPost, "/v1/enrol/renew", api.RenewRequest{AgentID: m.creds.Identity().ID, CSR: csr}, &resp)
	})
	if err != nil {
		return fmt.Errorf("renew certificate: %w", err)
	}
	m.log.Info("certificate did not hold and is renewed")
	return m.creds.Renew(resp.Certificate, resp.Authorities)
}
