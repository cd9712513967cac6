package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"redflag/api"
	"redflag/telemetry"
	"redflag/telemetry/logstore"
)

const (
	// logTrimRound is how often the store is cut to its age and size.
	logTrimRound = time.Minute
	// ownLogPause is how long a node waits before it tries its own lines again.
	ownLogPause = time.Second
)

// logs is a node's part in the central log: the store, and the spool that this
// node's own lines wait in.
type logs struct {
	store *logstore.Store
	spool *telemetry.Spool // nil when the log stays where the logger writes it
}

// openLogs opens the store. One that is damaged is put aside: a node must
// serve without its log.
func (n *Node) openLogs(ctx context.Context) (err error) {
	if err := os.MkdirAll(n.path("logs"), 0o700); err != nil {
		return fmt.Errorf("make log folder: %w", err)
	}
	path := n.path("logs", "lines.db")
	if n.logs.store, err = logstore.Open(ctx, path); errors.Is(err, logstore.ErrDamaged) {
		aside := n.path("logs", "damaged-"+time.Now().UTC().Format("20060102T150405")+".db")
		n.log.Error("log store damaged, a new one is begun", telemetry.KeyError, err, "kept_as", aside)
		for _, suffix := range []string{"", "-wal", "-shm"} {
			_ = os.Rename(path+suffix, aside+suffix)
		}
		n.logs.store, err = logstore.Open(ctx, path)
	}
	if err != nil {
		return err
	}
	if n.cfg.LogOutput == nil {
		return nil
	}
	spec, _ := api.Spec(api.SettingLogSpool)
	limit, err := api.ParseBytes(spec.Default)
	if err != nil {
		return err
	}
	if n.logs.spool, err = telemetry.OpenSpool(n.path("logs", "spool"), int64(limit)); err != nil {
		return err
	}
	n.cfg.LogOutput.Attach(n.logs.spool)
	return nil
}

func (n *Node) closeLogs(context.Context) error {
	var err error
	if n.logs.spool != nil {
		n.cfg.LogOutput.Attach(nil)
		err = n.logs.spool.Close()
	}
	return errors.Join(err, n.logs.store.Close())
}

// keepOwnLog moves this node's own lines from its spool into the store.
func (n *Node) keepOwnLog(ctx context.Context) error {
	if n.logs.spool == nil {
		return nil
	}
	for {
		wait := time.Duration(0)
		lines, first, err := n.logs.spool.Next(api.MaxLogBatch)
		if err == nil && len(lines) > 0 {
			split := bytes.Split(bytes.TrimSuffix(lines, []byte("\n")), []byte("\n"))
			if err = n.logs.store.Add(ctx, logstore.Batch{Source: n.cfg.ID, Spool: n.logs.spool.ID(), First: first, Lines: split}); err == nil {
				n.export.Lines(serviceNode, n.cfg.ID, split)
				err = n.logs.spool.Ack(first + uint64(len(split)) - 1)
			}
		}
		if err != nil {
			wait = ownLogPause // the health check has the reason; a line would make more lines
		}
		if err == nil && len(lines) > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-n.logs.spool.Written():
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait + 50*time.Millisecond): // lines come in groups
		}
	}
}

// trimLogs keeps the store within its bounds.
func (n *Node) trimLogs(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(logTrimRound):
		}
		s := n.settings()
		if n.logs.spool != nil {
			n.logs.spool.SetLimit(s.Bytes(api.SettingLogSpool))
		}
		if err := n.logs.store.Trim(ctx, s.Duration(api.SettingLogRetentionAge), s.Bytes(api.SettingLogRetentionBytes)); err != nil && ctx.Err() == nil {
			n.log.Warn("log store not trimmed", telemetry.KeyError, err)
		}
	}
}

// takeLogs keeps an agent's lines. They are acknowledged once they are on disk.
func (n *Node) takeLogs(r *http.Request) (any, error) {
	id := identity(r.Context())
	if r.PathValue("id") != id.ID {
		return nil, api.Errorf(api.CodeDenied, "agent %s may not write the log of %s", id.ID, r.PathValue("id"))
	}
	q := r.URL.Query()
	first, err1 := strconv.ParseUint(q.Get("first"), 10, 62) // the numbers of all lines fit into what the store has for them
	count, err2 := strconv.Atoi(q.Get("count"))
	if err1 != nil || err2 != nil || first == 0 || !api.ValidID(q.Get("spool")) {
		return nil, api.Errorf(api.CodeInvalid, "a log batch names its spool, its first line and how many there are")
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	lines, err := telemetry.UnpackLines(b)
	if err != nil {
		return nil, err
	}
	if len(lines) != count || count == 0 {
		return nil, api.Errorf(api.CodeInvalid, "the log batch holds %d lines, not %d", len(lines), count)
	}
	if err := n.logs.store.Add(r.Context(), logstore.Batch{Source: id.ID, Spool: q.Get("spool"), First: first, Lines: lines}); err != nil {
		return nil, err
	}
	n.export.Lines(serviceAgent, id.ID, lines)
	return api.LogAck{Acked: first + uint64(count) - 1}, nil
}

// lossRemembered is how long a node warns of lines that it lost.
const lossRemembered = time.Hour

func checkLogs(n *Node, v *healthView) finding {
	if err := n.logs.store.Err(); err != nil {
		return warn("lines cannot be kept: "+err.Error(), "free disk, or check the file system; agents and this node keep their lines meanwhile")
	}
	if n.logs.spool != nil {
		if lost := n.logs.spool.Dropped(); n.lately(lost, v.now) {
			return warn(fmt.Sprintf("%d lines of this node were lost since it started, some within the last hour", lost), "free disk, or give the spool more: log.spool_max in the settings")
		}
	}
	return ok("lines are kept")
}

// lately reports whether lines were lost within the last hour, of all that were.
func (n *Node) lately(lost uint64, now time.Time) bool {
	n.monitor.mu.Lock()
	defer n.monitor.mu.Unlock()
	if lost > n.monitor.lost {
		n.monitor.lost, n.monitor.lostAt = lost, now
	}
	return lost > 0 && now.Sub(n.monitor.lostAt) < lossRemembered
}

// logApplied writes the line by which a request is found on every node that
// applied its change. Raft waits for it, so it does no more.
func (n *Node) logApplied(index uint64, what, correlation string) {
	n.log.Info("change applied", telemetry.KeyCorrelation, correlation, "change", what, "index", index)
}
