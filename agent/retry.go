package agent

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/go-hclog"

	"redflag/api"
	"redflag/telemetry"
)

// movedError marks a failure after some bytes had come: it starts the
// patience anew.
type movedError struct{ err error }

func (e *movedError) Error() string { return e.err.Error() }
func (e *movedError) Unwrap() error { return e.err }

// retry repeats op while waiting can help: for as long as patience lasts when
// the network is to blame, and shortly when a node that lags may be.
func (e *executor) retry(ctx context.Context, log hclog.Logger, op func() error) error {
	wait := backoff{base: e.retryBase, limit: retryLimit}
	since := time.Now()
	for {
		err := op()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if _, moved := errors.AsType[*movedError](err); moved {
			since = time.Now()
			wait.reset()
		}
		pauseFor := wait.next()
		if time.Since(since)+pauseFor > e.limitFor(err) {
			return err
		}
		log.Warn("command waits to try again", "wait", pauseFor.Round(time.Millisecond).String(), telemetry.KeyError, err)
		if !pause(ctx, pauseFor) {
			return context.Cause(ctx)
		}
	}
}

// limitFor is how long a failure may go on; zero for one that stays.
func (e *executor) limitFor(err error) time.Duration {
	switch {
	case classOf(err) == api.ErrorNetwork:
		return e.patience
	case lags(err):
		return e.lagPatience
	default:
		return 0
	}
}
