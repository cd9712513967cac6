// Package telemetry sets up structured logs. It owns the log format: one JSON
// object per line on stderr, with constant messages and facts in keys.
//
// It must never block the caller on anything but the write itself. Types that
// hold a secret do not print it; nothing here looks for secrets in values.
package telemetry

import (
	"context"
	"io"

	"github.com/hashicorp/go-hclog"

	"redflag/api"
)

// The keys that mean the same on every line.
const (
	KeyCorrelation = "correlation_id"
	KeyAgent       = "agent"
	KeyNode        = "node"
	KeyRegion      = "region"
	KeyCommand     = "command"
	KeyError       = "error"
)

// NewLogger returns the root logger of a process. Its level can be changed
// while it runs and its sub-loggers follow. fields are key, value pairs that
// stand on every line.
func NewLogger(component string, out io.Writer, debug bool, fields ...any) hclog.Logger {
	l := hclog.New(&hclog.LoggerOptions{
		Name:       component,
		Level:      levelFor(debug),
		Output:     out,
		JSONFormat: true,
		TimeFormat: "2006-01-02T15:04:05.000000Z07:00",
		// Sub-loggers follow SetLevel of the root: debug goes live everywhere.
		IndependentLevels: false,
	})
	return l.With(fields...)
}

// SetDebug changes the level of a root logger and all its sub-loggers.
func SetDebug(l hclog.Logger, debug bool) { l.SetLevel(levelFor(debug)) }

func levelFor(debug bool) hclog.Level {
	if debug {
		return hclog.Debug
	}
	return hclog.Info
}

// For returns l with the correlation id of ctx, if it has one.
func For(ctx context.Context, l hclog.Logger) hclog.Logger {
	if id := api.Correlation(ctx); id != "" {
		return l.With(KeyCorrelation, id)
	}
	return l
}
