package node

import (
	"context"
	"net/http"
	"sync"
	"time"

	"redflag/api"
	"redflag/consensus/state"
	"redflag/telemetry"
	"redflag/trust/pki"
)

// confirmEvery is how long confirmations are gathered before they are proposed
// in one entry, and maxConfirm how many fit.
const (
	confirmEvery = 500 * time.Millisecond
	maxConfirm   = 1000
)

// tellTrust compares what an agent believes with what it should, and renews its
// certificate where it asks for that. The caller has proved its key.
func (n *Node) tellTrust(r *http.Request, agent *api.Agent, confirmed state.Confirmation, req *api.PollRequest, resp *api.PollResponse) error {
	cluster, err := n.founded()
	if err != nil {
		return err
	}
	if agent.Machine != "" && req.Trust.Machine != agent.Machine {
		n.auditEvent(r, "agent "+agent.ID, "machine refused", agent.ID, "the disk of an agent runs on another machine")
		return api.Errorf(api.CodeDenied, "agent %s was enrolled on another machine", agent.ID).
			WithHint("enrol this machine with a token and a data directory of its own")
	}
	news := api.TrustNews{}
	if req.Trust.Authorities != cluster.CAVersion {
		news.AuthoritiesVersion, news.Authorities = cluster.CAVersion, cluster.Authorities
	}
	if req.Trust.Revoked != n.state().RevocationVersion() {
		news.RevokedVersion, news.Revoked = n.state().Revocations()
	}
	if len(req.Trust.CSR) > 0 {
		keyID, err := pki.CSRKeyID(req.Trust.CSR)
		if err != nil {
			return err
		}
		if keyID != agent.KeyID {
			return api.Errorf(api.CodeDenied, "the certificate request is for another key")
		}
		if news.Certificate, _, err = n.certify(req.Trust.CSR, pki.RoleAgent, agent.ID, agent.Region); err != nil {
			return err
		}
		telemetry.For(r.Context(), n.log).Debug("certificate renewed", telemetry.KeyAgent, agent.ID)
	}
	if news.AuthoritiesVersion != 0 || news.RevokedVersion != 0 || news.Certificate != nil {
		resp.Trust = &news
	}
	if req.Trust.Authorities == cluster.CAVersion { // anything else confirms nothing, and would fill the log
		n.confirm(confirmed, state.Confirmation{ID: agent.ID, Version: cluster.CAVersion, Issuer: pki.Issuer(r.TLS.PeerCertificates[0])})
	}
	for _, i := range req.Incidents {
		n.auditEvent(r, "agent "+agent.ID, "refused: "+i.Class, i.Command, i.Detail+" (from "+i.Node+")")
	}
	return nil
}

// signOrders signs what is handed out, for this agent alone.
func (n *Node) signOrders(resp *api.PollResponse) error {
	for i := range resp.Commands {
		order, err := n.creds.SignOrder(resp.Commands[i], time.Now())
		if err != nil {
			return err
		}
		resp.Commands[i].Order = order
	}
	return nil
}

// renewExpired certifies an enrolled key whose certificate has expired: the
// machine was off. Who sends the request need not be known, because nobody but
// the owner of the key can use the answer.
func (n *Node) renewExpired(r *http.Request) (any, error) {
	var req api.RenewRequest
	if err := body(r, &req); err != nil {
		return nil, err
	}
	keyID, err := pki.CSRKeyID(req.CSR)
	if err != nil {
		return nil, err
	}
	agent, ok := n.state().Agent(req.AgentID)
	if !ok || agent.KeyID != keyID || !agent.RevokedAt.IsZero() || n.state().Revoked(keyID) {
		return nil, api.Errorf(api.CodeDenied, "no agent is enrolled with this id and key").WithHint("enrol with a registration token")
	}
	cert, cluster, err := n.certify(req.CSR, pki.RoleAgent, agent.ID, agent.Region)
	if err != nil {
		return nil, err
	}
	telemetry.For(r.Context(), n.log).Info("expired certificate renewed", telemetry.KeyAgent, agent.ID)
	return api.RenewResponse{Certificate: cert, Authorities: cluster.Authorities}, nil
}

// confirmations gathers what members have confirmed.
type confirmations struct {
	mu      sync.Mutex
	waiting map[string]state.Confirmation
}

// confirm notes a confirmation, unless the replicated state has it.
func (n *Node) confirm(have, c state.Confirmation) {
	if have.Version == c.Version && have.Issuer == c.Issuer {
		return
	}
	n.confirmed.mu.Lock()
	defer n.confirmed.mu.Unlock()
	if n.confirmed.waiting == nil {
		n.confirmed.waiting = map[string]state.Confirmation{}
	}
	n.confirmed.waiting[c.ID] = c
}

// proposeConfirmations replicates confirmations in batches. One that is lost
// comes again with the member's next poll.
func (n *Node) proposeConfirmations(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(confirmEvery):
		}
		entry := n.confirmed.take()
		if len(entry.Members) == 0 {
			continue
		}
		if _, err := n.propose(ctx, state.TypeConfirmTrust, entry); err != nil && ctx.Err() == nil {
			n.log.Debug("confirmations not replicated", telemetry.KeyError, err)
		}
	}
}

func (c *confirmations) take() (entry state.ConfirmTrust) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, m := range c.waiting {
		if len(entry.Members) == maxConfirm {
			break
		}
		entry.Members = append(entry.Members, m)
		delete(c.waiting, id)
	}
	return entry
}
