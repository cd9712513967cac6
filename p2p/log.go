package p2p

import (
	"context"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// The keys of this package's log lines.
const (
	keyInfoHash = "info_hash"
	keyPeer     = "peer"
	keyPeers    = "peers"
	keyPiece    = "piece"
)

// libraryLog passes warnings of the library on as debug lines: what matters of
// them for operators is logged by this package in its own words.
type libraryLog struct{ to hclog.Logger }

// Enabled implements slog.Handler.
func (libraryLog) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }

// Handle implements slog.Handler.
func (h libraryLog) Handle(_ context.Context, r slog.Record) error {
	h.to.Debug("torrent library warns", "warning", r.Message)
	return nil
}

// WithAttrs implements slog.Handler.
func (h libraryLog) WithAttrs([]slog.Attr) slog.Handler { return h }

// WithGroup implements slog.Handler.
func (h libraryLog) WithGroup(string) slog.Handler { return h }
