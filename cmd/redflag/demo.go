package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"redflag/api"
)

// demoRegions are the regions of the demo, one node each.
var demoRegions = []string{"eu-west", "us-east", "ap-south"}

const (
	demoAgentsPerRegion = 4
	demoArtifact        = "demo-app"
	demoVersion         = "1.0.0"
)

type demoOptions struct {
	payload string
	limit   string
	chaos   bool
	once    bool
	keep    bool
	json    bool
	debug   bool
}

func newDemoCommand() *cobra.Command {
	var o demoOptions
	cmd := &cobra.Command{
		Use:     "demo",
		GroupID: "run",
		Short:   "Run a whole mesh on this machine and roll a payload out",
		Long: `Run a whole mesh on this machine and roll a payload out.

Three regions with one node each and twelve agents start as separate processes
on loopback, in a temporary folder. A payload (this binary, or --payload) is
signed, published and rolled out under a bandwidth cap. The summary counts an
agent as installed only if the bytes on its disk are the published ones.

With --chaos the leader is killed in the middle of the rollout, and one agent
in the middle of its download; the agent starts again and resumes.

Exit code 0 means that every agent installed exactly the published bytes, and
with --chaos that both were killed on the way.`,
		Example: `  redflag demo
  redflag demo --once --json --chaos`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.json = wantsJSON(cmd)
			return runDemo(cmd, o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.payload, "payload", "", "file to roll out (default: this binary)")
	f.StringVar(&o.limit, "limit", "48mbit", "bandwidth cap of each agent, and of each node's upload")
	f.BoolVar(&o.chaos, "chaos", false, "kill the leader and one agent on the way")
	f.BoolVar(&o.once, "once", false, "exit after the summary")
	f.BoolVar(&o.keep, "keep", false, "keep the folder with data and logs")
	f.BoolVar(&o.debug, "debug", false, "debug logs in every process")
	addJSONFlag(cmd)
	return cmd
}

func runDemo(cmd *cobra.Command, o demoOptions) (err error) {
	if _, err := api.ParseRate(o.limit); err != nil {
		return usageError{fmt.Errorf("--limit: %w", err)}
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	if o.payload == "" {
		o.payload = exe
	}
	dir, err := os.MkdirTemp("", "redflag-demo-")
	if err != nil {
		return err
	}
	d := &demo{demoOptions: o, dir: dir, exe: exe, out: cmd.ErrOrStderr(), cmd: cmd, started: time.Now()}
	defer func() {
		d.stopAll()
		if o.keep || (err != nil && !errors.Is(err, context.Canceled)) {
			d.say("data and logs are kept in %s", dir)
			return
		}
		err = errors.Join(err, os.RemoveAll(dir))
	}()
	ctx := api.WithCorrelation(cmd.Context(), "")
	if err := d.startMesh(ctx); err != nil {
		return err
	}
	s, err := d.rollOut(ctx)
	if err != nil {
		return err
	}
	if err := d.printSummary(cmd.OutOrStdout(), s); err != nil {
		return err
	}
	if !o.once {
		d.sayNext()
		<-ctx.Done()
		d.say("stopping")
	}
	if s.Installed != s.Agents || s.Verified != s.Agents || d.chaos != (s.LeaderKilled && s.AgentKilled) {
		return silentError{exitFailed}
	}
	return nil
}

func (d *demo) say(format string, args ...any) {
	fmt.Fprintf(d.out, "%6.1fs  %s\n", time.Since(d.started).Seconds(), fmt.Sprintf(format, args...))
}

func (d *demo) sayNext() {
	cred := filepath.Join(d.dir, "operator.json")
	fmt.Fprintf(d.out, `
The mesh stays up until Ctrl-C. Its API is at %s (try /v1/health).
In another terminal:
  export REDFLAG_CREDENTIAL=%s REDFLAG_KEYS=%s
  %s agents
  %s health
  %s publish FILE --name %s --version 1.1.0
  %s rollout create %s --version 1.1.0 --to region:eu-west --watch
  %s rollout create %s --rollback --to all --watch
Logs of every process are in %s
`, d.client.Servers[0], cred, d.keysDir(), d.exe, d.exe, d.exe, demoArtifact, d.exe, demoArtifact, d.exe, demoArtifact, d.dir)
}
