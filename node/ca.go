package node

import (
	"bytes"
	"cmp"
	"context"
	"net/http"
	"time"

	"redflag/api"
	"redflag/consensus/state"
	"redflag/telemetry"
	"redflag/trust/pki"
)

// maxWaiting bounds how many members a status names.
const maxWaiting = 100

func (n *Node) showCA(*http.Request) (any, error) {
	cluster, err := n.founded()
	if err != nil {
		return nil, err
	}
	infos, err := pki.Bundle(cluster.Authorities)
	if err != nil {
		return nil, err
	}
	status := api.CAStatus{Stage: cluster.CAStage, Since: cluster.CASince, Bundle: cluster.Authorities}
	for _, i := range infos {
		status.Authorities = append(status.Authorities, api.CAAuthority{ID: i.ID, NotAfter: i.NotAfter})
	}
	if cluster.CAStage != api.CASteady {
		status.Waiting = n.waitingFor(cluster, infos, maxWaiting)
	}
	return status, nil
}

// waitingFor names members that have not confirmed the stage.
func (n *Node) waitingFor(c state.Cluster, infos []pki.AuthorityInfo, limit int) []string {
	issuer := ""
	if c.CAStage == api.CAReissue {
		issuer = infos[0].ID
	}
	return n.state().Unconfirmed(c.CAVersion, issuer, limit)
}

// rotateCA draws the next authority and hands it to everybody. The leader goes
// on from there by itself, stage by stage.
func (n *Node) rotateCA(r *http.Request) (any, error) {
	cluster, err := n.founded()
	if err != nil {
		return nil, err
	}
	if cluster.CAStage != api.CASteady {
		return nil, api.Errorf(api.CodeConflict, "a roll-over is under way, at stage %s", cluster.CAStage).WithHint("redflag ca status")
	}
	next, err := pki.NewAuthority(cluster.ID, time.Now())
	if err != nil {
		return nil, err
	}
	key, err := next.MarshalKey()
	if err != nil {
		return nil, err
	}
	sealed, err := n.sealer.Seal(key, sealCA)
	if err != nil {
		return nil, err
	}
	_, err = n.propose(r.Context(), state.TypeChangeCA, state.ChangeCA{
		Version: cluster.CAVersion, Stage: api.CASpread,
		Authorities: bytes.Join([][]byte{cluster.Authorities, next.CertificatePEM()}, nil),
		SealedKey:   cluster.SealedCAKey, SealedNext: sealed,
	})
	if err != nil {
		return nil, err
	}
	telemetry.For(r.Context(), n.log).Info("CA roll-over begun")
	return n.showCA(r)
}

// advanceCA is the operator's way to go on without members that are gone.
func (n *Node) advanceCA(r *http.Request) (any, error) {
	var req api.CAAdvance
	if err := body(r, &req); err != nil {
		return nil, err
	}
	if err := n.nextCAStage(r.Context(), req.Force); err != nil {
		return nil, err
	}
	return n.showCA(r)
}

// rollCA moves a roll-over on as members confirm. It runs on the leader.
func (n *Node) rollCA(ctx context.Context) {
	cluster, ok := n.state().Cluster()
	if !ok || cluster.CAStage == api.CASteady {
		return
	}
	if err := n.nextCAStage(ctx, false); err != nil && api.CodeOf(err) != api.CodeConflict && ctx.Err() == nil {
		n.log.Warn("CA roll-over does not go on", telemetry.KeyError, err)
	}
}

// nextCAStage takes the next step, if every member has confirmed this one.
func (n *Node) nextCAStage(ctx context.Context, force bool) error {
	cluster, err := n.founded()
	if err != nil {
		return err
	}
	infos, err := pki.Bundle(cluster.Authorities)
	if err != nil {
		return err
	}
	if cluster.CAStage == api.CASteady || len(infos) < 2 {
		return api.Errorf(api.CodeConflict, "no roll-over is under way").WithHint("redflag ca rotate")
	}
	if waiting := n.waitingFor(cluster, infos, 1); len(waiting) > 0 && !force {
		return api.Errorf(api.CodeConflict, "member %s has not confirmed yet", waiting[0]).WithHint("redflag ca status")
	}
	next := state.ChangeCA{Version: cluster.CAVersion, Stage: api.CAReissue, Authorities: append(bytes.Clone(infos[1].PEM), infos[0].PEM...), SealedKey: cluster.SealedNextCAKey}
	if cluster.CAStage == api.CAReissue {
		next.Stage, next.Authorities, next.SealedKey = api.CASteady, infos[0].PEM, cluster.SealedCAKey
	}
	if _, err := n.propose(ctx, state.TypeChangeCA, next); err != nil {
		return err
	}
	telemetry.For(ctx, n.log).Info("CA roll-over goes on", "stage", string(next.Stage), "forced", force)
	if !force { // what an operator forces is in the log already
		n.auditSelf("CA roll-over", "goes on to "+cmp.Or(string(next.Stage), "its end"))
	}
	return nil
}

// revokeAgent puts an agent out. Every node and, with its next poll, every agent
// refuses its certificate from the next handshake on.
func (n *Node) revokeAgent(r *http.Request) (any, error) {
	id := r.PathValue("id")
	_, err := n.propose(r.Context(), state.TypeRevokeAgent, state.RevokeAgent{ID: id})
	if err != nil {
		return nil, err
	}
	telemetry.For(r.Context(), n.log).Info("agent put out", telemetry.KeyAgent, id)
	return nil, nil
}
