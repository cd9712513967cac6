package node

import (
	"context"
	"net/http"
	"strconv"

	"redflag/api"
	"redflag/consensus/state"
	"redflag/telemetry"
)

// Listings answer defaultPage rows unless asked for another number.
const (
	defaultPage = 100
	maxPage     = 1000
)

// listRollouts pages by the place in the log of a rollout's creation: what is
// created meanwhile stands before the first page and moves nothing.
func (n *Node) listRollouts(r *http.Request) (any, error) {
	limit, err := pageLimit(r)
	if err != nil {
		return nil, err
	}
	before := uint64(0)
	if after := r.URL.Query().Get("after"); after != "" {
		if before, err = strconv.ParseUint(after, 10, 64); err != nil || before == 0 {
			return nil, notACursor(after)
		}
	}
	items, next := n.state().RolloutsBefore(before, limit)
	p := page[api.Rollout]{Items: append([]api.Rollout{}, items...)}
	if next > 0 {
		p.Next = strconv.FormatUint(next, 10)
	}
	return p, nil
}

func notACursor(after string) error {
	return api.Errorf(api.CodeInvalid, "cursor %.64q is not one of this listing", after).WithHint("use the next of the page before")
}

func (n *Node) createRollout(r *http.Request) (any, error) {
	var req api.CreateRolloutRequest
	if err := body(r, &req); err != nil {
		return nil, err
	}
	once, err := n.once(r)
	if err != nil {
		return nil, err
	}
	if once != nil && req.ID == "" {
		req.ID = "r-" + once.id
	}
	if err := req.Validate(); err != nil {
		return nil, err
	}
	if req.Selector, err = req.Selector.Within(operatorOf(r.Context()).Scope); err != nil {
		return nil, err
	}
	return n.addRollout(r.Context(), state.CreateRollout{
		ID: req.ID, Kind: req.Kind, Artifact: req.Artifact, Version: req.Version, Selector: req.Selector,
	}, req.Plan)
}

// addRollout proposes a rollout. What the plan leaves to this version's defaults
// is written out: other versions replay the same entry.
func (n *Node) addRollout(ctx context.Context, entry state.CreateRollout, plan api.Plan) (any, error) {
	if plan.Retries == nil {
		plan.Retries = api.DefaultRetries()
	}
	if plan.Timeout == 0 {
		plan.Timeout = api.DefaultTimeout
	}
	if plan.Expiry == 0 {
		plan.Expiry = api.DefaultExpiry
	}
	entry.Plan, entry.CorrelationID, entry.CreatedBy = &plan, api.Correlation(ctx), operatorOf(ctx).ID
	res, err := n.propose(ctx, state.TypeCreateRollout, entry)
	if err != nil {
		return nil, err
	}
	rollout, err := n.rollout(entry.ID)
	if err != nil {
		return nil, err
	}
	telemetry.For(ctx, n.log).Info("rollout created", "rollout", entry.ID, "kind", string(entry.Kind),
		"artifact", entry.Artifact, "version", entry.Version, "agents", rollout.Agents, "waves", rollout.Waves,
		"rollback_of", entry.RollbackOf, "retry_of", entry.RetryOf, "index", res.Index)
	return rollout, nil
}

func (n *Node) rollout(id string) (api.Rollout, error) {
	rollout, ok := n.state().Rollout(id)
	if !ok {
		return rollout, api.Errorf(api.CodeNotFound, "there is no rollout %q", id).WithHint("redflag rollout list")
	}
	return rollout, nil
}

// showRollout adds what the last polls said of running commands to what is
// replicated.
func (n *Node) showRollout(r *http.Request) (any, error) {
	rollout, err := n.rollout(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	byRegion := map[string]*api.Transfer{}
	for i := range rollout.Regions {
		byRegion[rollout.Regions[i].Region] = &rollout.Regions[i].Transfer
	}
	for _, p := range n.presenceEverywhere(r.Context(), presenceQuery{Rollout: rollout.ID}) {
		for _, progress := range p.Progress {
			c, ok := n.state().Command(progress.CommandID)
			if !ok || c.RolloutID != rollout.ID || c.State.Terminal() {
				continue
			}
			addTransfer(&rollout.Transfer, progress.Transfer)
			if t := byRegion[c.Region]; t != nil {
				addTransfer(t, progress.Transfer)
			}
		}
	}
	return rollout, nil
}

func addTransfer(sum *api.Transfer, t api.Transfer) {
	sum.FromPeers += t.FromPeers
	sum.FromNodes += t.FromNodes
	sum.ToPeers += t.ToPeers
	sum.Total += t.Total
	sum.Done += t.Done
	sum.FromOtherRegions += t.FromOtherRegions
}

func (n *Node) cancelRollout(r *http.Request) (any, error) {
	id := r.PathValue("id")
	known, err := n.rollout(id)
	if err != nil {
		return nil, err
	}
	if err := withinScope(r.Context(), known.Selector); err != nil {
		return nil, err
	}
	if _, err := n.propose(r.Context(), state.TypeCancelRollout, state.CancelRollout{ID: id}); err != nil {
		return nil, err
	}
	telemetry.For(r.Context(), n.log).Info("rollout aborted", "rollout", id)
	return n.rollout(id)
}

func (n *Node) pauseRollout(r *http.Request) (any, error) {
	return n.changeRollout(r, api.RolloutPause)
}

func (n *Node) resumeRollout(r *http.Request) (any, error) {
	return n.changeRollout(r, api.RolloutResume)
}

func (n *Node) changeRollout(r *http.Request, action api.RolloutAction) (any, error) {
	var req api.ChangeRolloutRequest
	if err := body(r, &req); err != nil {
		return nil, err
	}
	id := r.PathValue("id")
	entry := state.ChangeRollout{ID: id, Action: action, Reason: req.Reason}
	if _, err := n.propose(r.Context(), state.TypeChangeRollout, entry); err != nil {
		return nil, err
	}
	telemetry.For(r.Context(), n.log).Info("rollout changed", "rollout", id, "action", string(action), "reason", req.Reason)
	return n.rollout(id)
}

// rollBackRollout aborts a rollout that still goes on, then sends everyone on
// whom it succeeded back. They are known once the abort is committed;
// what succeeds later all the same is seen in the counts of the old rollout.
func (n *Node) rollBackRollout(r *http.Request) (any, error) {
	var req api.RollbackRequest
	if err := body(r, &req); err != nil {
		return nil, err
	}
	if err := req.Plan.Validate(); err != nil {
		return nil, err
	}
	of, err := n.rollout(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	if of.Kind != api.KindInstall {
		return nil, api.Errorf(api.CodeConflict, "rollout %s is a %s: only an %s can be rolled back", of.ID, of.Kind, api.KindInstall)
	}
	if !of.State.Ended() {
		if _, err := n.propose(r.Context(), state.TypeCancelRollout, state.CancelRollout{ID: of.ID}); err != nil {
			return nil, err
		}
	}
	members, agents, err := n.state().SucceededOf(of.ID)
	if err != nil {
		return nil, err
	}
	if agents == 0 {
		return nil, api.Errorf(api.CodeConflict, "rollout %s has succeeded nowhere: there is nothing to roll back", of.ID)
	}
	return n.addRollout(r.Context(), state.CreateRollout{
		ID: req.ID, Kind: api.KindRollback, Artifact: of.Artifact, Selector: of.Selector, RollbackOf: of.ID, Members: members,
	}, req.Plan)
}

// page is a listing with the cursor of its next page.
type page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty"`
}

// newPage makes a page of items. A full one may have a next.
func newPage[T any](items []T, limit int, id func(T) string) page[T] {
	p := page[T]{Items: items}
	if len(items) == limit {
		p.Next = id(items[limit-1])
	}
	if p.Items == nil {
		p.Items = []T{}
	}
	return p
}

func pageLimit(r *http.Request) (int, error) {
	s := r.URL.Query().Get("limit")
	if s == "" {
		return defaultPage, nil
	}
	v, err := strconv.Atoi(s)
	if err != nil || v < 1 || v > maxPage {
		return 0, api.Errorf(api.CodeInvalid, "limit %q is out of range", s).WithHint("use 1 to %d", maxPage)
	}
	return v, nil
}
