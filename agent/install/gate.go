package install

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"time"

	"redflag/agent/process"
	"redflag/api"
)

const (
	// gateWithin is how long checks may take to pass, unless the payload says
	// otherwise.
	gateWithin = time.Minute
	// gateEvery is the pause between two rounds, and gateOnce the longest time
	// for one check.
	gateEvery = time.Second
	gateOnce  = 10 * time.Second
)

// check is the health gate: it returns nil once all checks pass in one round.
func (e *Engine) check(ctx context.Context, job *Job) error {
	checks := job.how().Checks
	if len(checks) == 0 {
		return nil
	}
	within := time.Duration(job.how().CheckWithin)
	if within == 0 {
		within = gateWithin
	}
	gate, stop := context.WithTimeout(ctx, within)
	defer stop()
	for {
		job.out.Reset()
		err := round(gate, checks, &job.out)
		if err == nil {
			return nil
		}
		select {
		case <-gate.Done():
			return api.Failf(api.ErrorHealth, "health gate: not well within %s: %w", within, err)
		case <-time.After(min(gateEvery, within/4)):
		}
	}
}

func round(ctx context.Context, checks []api.HealthCheck, out io.Writer) error {
	var errs []error
	for _, c := range checks {
		if err := once(ctx, c, out); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", c, err))
		}
	}
	return errors.Join(errs...)
}

func once(ctx context.Context, c api.HealthCheck, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, gateOnce)
	defer cancel()
	switch c.Kind {
	case api.CheckCommand:
		argv := []string{"/bin/sh", "-c", c.Target}
		if runtime.GOOS == "windows" {
			argv = []string{"cmd.exe", "/C", c.Target}
		}
		return process.Run(ctx, process.Command{Argv: argv, Timeout: gateOnce, Out: out})
	case api.CheckUnit:
		return process.Run(ctx, process.Command{Argv: []string{"systemctl", "is-active", "--", c.Target}, Timeout: gateOnce, Out: out})
	case api.CheckTCP:
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", c.Target)
		if err != nil {
			return err
		}
		return conn.Close()
	case api.CheckHTTP:
		return get(ctx, c.Target)
	default:
		return fmt.Errorf("this agent does not know the check %q", c.Kind)
	}
}

// gateClient follows no redirect to another place and uses no proxy: the check
// asks this machine's service.
var gateClient = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true, Proxy: nil},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func get(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := gateClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("it answers %s", resp.Status)
	}
	return nil
}
