package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/time/rate"

	"redflag/api"
	"redflag/telemetry"
)

const (
	// logBatch is how many bytes of lines one request carries before
	// compression, which leaves about a tenth.
	logBatch = 128 << 10
	// logQuantum is what the log may send at once, in bytes.
	logQuantum = 16 << 10
	// maxLogAck bounds a node's answer.
	maxLogAck = 4 << 10
)

// logShipper hands the machine's log to the node that polls go to. It begins
// after a poll, so commands and reports go first, and keeps to a bandwidth of
// its own. What no node takes stays on disk for the next poll.
type logShipper struct {
	id      string // of the agent
	spool   *telemetry.Spool
	mesh    *mesh
	log     hclog.Logger
	limiter *rate.Limiter
	polled  chan struct{}
}

// openLogs opens the spool and sends the log there too, from now on. Without
// an Output to follow there is nothing to hand in.
func (a *Agent) openLogs(id string, m *mesh) (*logShipper, error) {
	if a.cfg.LogOutput == nil {
		return nil, nil //nolint:nilnil // no shipper is no error
	}
	spec, _ := api.Spec(api.SettingLogSpool)
	limit, err := api.ParseBytes(spec.Default)
	if err != nil {
		return nil, err
	}
	spool, err := telemetry.OpenSpool(filepath.Join(a.cfg.DataDir, "logs"), int64(limit))
	if err != nil {
		return nil, err
	}
	a.cfg.LogOutput.Attach(spool)
	return &logShipper{
		id: id, spool: spool, mesh: m, log: a.log,
		limiter: rate.NewLimiter(rate.Inf, logQuantum), polled: make(chan struct{}, 1),
	}, nil
}

// close ends the spooling; lines that come later are on standard error only.
func (a *Agent) closeLogs(s *logShipper) {
	if s != nil {
		a.cfg.LogOutput.Attach(nil)
		_ = s.spool.Close()
	}
}

// apply takes over the settings of the log.
func (s *logShipper) apply(settings api.Settings) {
	s.spool.SetLimit(settings.Bytes(api.SettingLogSpool))
	limit := rate.Inf
	if r := settings.Rate(api.SettingLogRate); r != api.Unlimited {
		limit = rate.Limit(r.BytesPerSecond())
	}
	s.limiter.SetLimit(limit)
}

// after is called when a poll has succeeded.
func (s *logShipper) after() {
	select {
	case s.polled <- struct{}{}:
	default:
	}
}

// run works until ctx ends.
func (s *logShipper) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.polled:
		}
		if err := s.drain(ctx); err != nil && ctx.Err() == nil {
			// Once per poll, and a line like any other: it tells why lines are late.
			s.log.Debug("log not handed in", telemetry.KeyError, err)
		}
	}
}

// drain hands in what waits, batch by batch.
func (s *logShipper) drain(ctx context.Context) error {
	for {
		lines, first, err := s.spool.Next(logBatch)
		if err != nil || len(lines) == 0 {
			return err
		}
		packed, err := telemetry.PackLines(lines)
		if err != nil {
			return err
		}
		for left := len(packed); left > 0; left -= logQuantum {
			if err := s.limiter.WaitN(ctx, min(left, logQuantum)); err != nil {
				return err
			}
		}
		if err := s.hand(ctx, first, bytes.Count(lines, []byte("\n")), packed); err != nil {
			return err
		}
	}
}

// hand gives one batch to the nearest node. It does not try another one: the
// next poll finds out who is there.
func (s *logShipper) hand(ctx context.Context, first uint64, count int, packed []byte) error {
	order := s.mesh.nodes.order()
	if len(order) == 0 {
		return api.Errorf(api.CodeUnavailable, "no node is known")
	}
	q := url.Values{"spool": {s.spool.ID()}, "first": {strconv.FormatUint(first, 10)}, "count": {strconv.Itoa(count)}}
	return s.mesh.one(ctx, order[0], func(ctx context.Context, _ api.NodeAddr, c *api.Client) error {
		b, err := c.Exchange(ctx, "/v1/agents/"+s.id+"/logs?"+q.Encode(), "application/zstd", packed, maxLogAck)
		if err != nil {
			return err
		}
		var ack api.LogAck
		if err := json.Unmarshal(b, &ack); err != nil {
			return fmt.Errorf("decode answer: %w", err)
		}
		return s.spool.Ack(min(ack.Acked, first+uint64(count)-1))
	})
}
