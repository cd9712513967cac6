package node

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"redflag/api"
	"redflag/node/archive"
	"redflag/regions/gossip"
	"redflag/telemetry"
)

const (
	// archiveEvery is how often ended commands are written to the archive. The
	// state keeps them for minutes at least.
	archiveEvery = 10 * time.Second
	archiveBatch = 256
	// archivePrefix marks a cursor that goes on in the archives.
	archivePrefix = "~"
)

// keepHistory writes what has ended to this node's archive.
func (n *Node) keepHistory(ctx context.Context) error {
	cursor := n.archive.Cursor()
	for {
		if next, err := n.archiveFrom(cursor); err != nil {
			n.log.Error("ended commands not archived", telemetry.KeyError, err)
		} else if next != cursor {
			cursor = next
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(archiveEvery):
		}
	}
}

// archiveFrom writes one batch and returns where to go on.
func (n *Node) archiveFrom(cursor string) (string, error) {
	ended, next := n.state().EndedAfter(cursor, archiveBatch)
	records := make([]archive.Record, 0, len(ended))
	for _, e := range ended {
		records = append(records, archive.Record{Cursor: e.Cursor, Index: e.Index, Command: e.Command})
	}
	if err := n.archive.Append(records, n.settings().Bytes(api.SettingArchiveSize)); err != nil {
		return cursor, err
	}
	return next, nil
}

// archiveQuery asks a node for a page of its archive.
type archiveQuery struct {
	Filter api.CommandList `json:"filter"`
	ID     string          `json:"id,omitempty"` // of one command
	Before uint64          `json:"before"`
	Limit  int             `json:"limit"`
}

type archivePage struct {
	Records []archive.Record `json:"records"`
	Next    uint64           `json:"next"`
	More    bool             `json:"more"`
}

func (n *Node) archiveHere(q archiveQuery) (p archivePage, err error) {
	q.Limit = min(max(q.Limit, 1), maxPage)
	p.Records, p.Next, p.More, err = n.archive.Find(q.Before, q.Limit, func(r *archive.Record) bool {
		return (q.ID == "" || q.ID == r.Command.ID) && q.Filter.Matches(&r.Command)
	})
	return p, err
}

// meshArchive answers another node.
func (n *Node) meshArchive(r *http.Request) (any, error) {
	var q archiveQuery
	if err := body(r, &q); err != nil {
		return nil, err
	}
	return n.archiveHere(q)
}

// archived returns a page of commands that the state has trimmed, from the
// archives of all living nodes, and the cursor of the next one.
func (n *Node) archived(ctx context.Context, q archiveQuery) (found []api.Command, next string, err error) {
	own, err := n.archiveHere(q)
	if err != nil {
		return nil, "", err
	}
	pages := []archivePage{own}
	var mu sync.Mutex
	n.eachOther(ctx, func(ctx context.Context, m gossip.Member) {
		var p archivePage
		if err := n.meshClient(m.MeshAddr).Do(ctx, http.MethodPost, "/v1/mesh/archive", q, &p); err != nil {
			n.log.Debug("archive not answered", "other", m.ID, telemetry.KeyError, err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		pages = append(pages, p)
	})
	records, bound, more := mergeArchives(pages)
	for _, r := range records {
		if c, ok := n.state().Command(r.Command.ID); !ok || c.Archived {
			r.Command.Archived = true
			found = append(found, r.Command)
		}
	}
	if more {
		next = archivePrefix + strconv.FormatUint(bound, 10)
	}
	return found, next, nil
}

// mergeArchives returns the records of all pages, the newest first and each
// once, as far down as every page goes.
func mergeArchives(pages []archivePage) (all []archive.Record, bound uint64, more bool) {
	for _, p := range pages {
		all = append(all, p.Records...)
		if p.More {
			bound, more = max(bound, p.Next), true
		}
	}
	slices.SortFunc(all, func(a, b archive.Record) int {
		return cmp.Or(cmp.Compare(b.Index, a.Index), cmp.Compare(a.Command.ID, b.Command.ID))
	})
	all = slices.CompactFunc(all, func(a, b archive.Record) bool {
		return a.Index == b.Index && a.Command.ID == b.Command.ID
	})
	return slices.DeleteFunc(all, func(r archive.Record) bool { return r.Index < bound }), bound, more
}

// archiveCursor reads a cursor of archived, false for one of the state.
func archiveCursor(after string) (before uint64, ok bool, err error) {
	digits, ok := strings.CutPrefix(after, archivePrefix)
	if !ok {
		return 0, false, nil
	}
	before, err = strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return 0, true, api.Errorf(api.CodeInvalid, "cursor %.64q is not one of this listing", after)
	}
	return before, true, nil
}

// fromArchive looks for one command that the state has trimmed.
func (n *Node) fromArchive(ctx context.Context, id string) (api.Command, bool) {
	rollout, agent, ok := api.SplitCommandID(id)
	if !ok {
		return api.Command{}, false
	}
	q := archiveQuery{ID: id, Filter: api.CommandList{Rollout: rollout, Agent: agent}, Limit: 1}
	for {
		found, next, err := n.archived(ctx, q)
		if err != nil || (len(found) == 0 && next == "") {
			return api.Command{}, false
		}
		if len(found) > 0 {
			return found[0], true
		}
		before, _, err := archiveCursor(next)
		if err != nil || before == q.Before || ctx.Err() != nil {
			return api.Command{}, false
		}
		q.Before = before
	}
}
