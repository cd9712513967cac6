package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"redflag/api"
	"redflag/durable"
	"redflag/node"
	"redflag/publish"
	"redflag/trust/signing"
)

// demoStartup bounds how long the mesh may take to come up.
const demoStartup = 45 * time.Second

// demo is a mesh of processes on loopback.
type demo struct {
	demoOptions
	dir     string
	exe     string
	out     io.Writer
	cmd     *cobra.Command
	started time.Time

	nodes  []*process
	agents []*process
	client *api.Client
	repo   *signing.Repository
}

func (d *demo) keysDir() string { return filepath.Join(d.dir, "keys") }

// startMesh founds a cluster, joins the other regions' nodes, makes the
// signing keys and enrols the agents.
func (d *demo) startMesh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, demoStartup)
	defer cancel()
	if err := d.startNodes(ctx); err != nil {
		return err
	}
	d.say("%d nodes form one cluster", len(d.nodes))
	var err error
	if d.repo, err = publish.InitTrust(ctx, d.client, d.keysDir(), signing.Plan{}, signing.Options{}); err != nil {
		return err
	}
	if err := d.startAgents(ctx); err != nil {
		return err
	}
	d.say("%d agents are enrolled and poll", len(d.agents))
	return nil
}

func (d *demo) startNodes(ctx context.Context) error {
	first, err := d.startNode(ctx, demoRegions[0], "")
	if err != nil {
		return err
	}
	var cred node.Credential
	if err := readJSON(filepath.Join(first.dir, "operator.json"), &cred); err != nil {
		return err
	}
	if d.client, err = clientFor(cred); err != nil {
		return err
	}
	token, _, err := createToken(d.cmd, d.client, api.CreateTokenRequest{
		Kind: api.TokenNode, Seats: len(demoRegions) - 1, TTL: api.Duration(time.Hour),
	}, d.keysDir())
	if err != nil {
		return err
	}
	for _, region := range demoRegions[1:] {
		p, err := d.startNode(ctx, region, token, "--join", first.runtime.Mesh)
		if err != nil {
			return err
		}
		cred.Servers = append(cred.Servers, p.runtime.API)
	}
	if d.client, err = clientFor(cred); err != nil {
		return err
	}
	b, err := json.Marshal(cred)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(filepath.Join(d.dir, "operator.json"), b, 0o600); err != nil {
		return err
	}
	return waitFor(ctx, "every node to vote", func() (bool, error) {
		var nodes []api.Node
		err := d.client.Do(ctx, http.MethodGet, "/v1/nodes", nil, &nodes)
		voters := 0
		for _, n := range nodes {
			if n.Voter && n.Alive {
				voters++
			}
		}
		return voters == len(demoRegions), err
	})
}

func (d *demo) startNode(ctx context.Context, region, token string, extra ...string) (*process, error) {
	id := region + "-1"
	p := d.newProcess(id, region, append([]string{
		"node", "--id", id, "--region", region, "--mesh-listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0",
	}, extra...)...)
	p.env = tokenEnv(token)
	if err := p.start(); err != nil {
		return nil, err
	}
	d.nodes = append(d.nodes, p)
	err := waitFor(ctx, "node "+id, func() (bool, error) {
		if err := p.exited(); err != nil {
			return false, err
		}
		return readJSON(filepath.Join(p.dir, "runtime.json"), &p.runtime) == nil, nil
	})
	// A node that is started again keeps its addresses, as on a real host.
	p.args = append(p.args, "--mesh-listen", p.runtime.Mesh, "--api-listen", strings.TrimPrefix(p.runtime.API, "http://"))
	return p, err
}

// tokenEnv hands a token over where a list of processes does not show it.
func tokenEnv(token string) []string { return []string{envName("token") + "=" + token} }

func (d *demo) startAgents(ctx context.Context) error {
	token, _, err := createToken(d.cmd, d.client, api.CreateTokenRequest{
		Kind: api.TokenAgent, Seats: len(demoRegions) * demoAgentsPerRegion, TTL: api.Duration(time.Hour),
		Labels: map[string]string{"fleet": "demo"},
	}, d.keysDir())
	if err != nil {
		return err
	}
	change := api.SettingsChange{Values: map[api.SettingKey]string{
		api.SettingPollIdle: "1s", api.SettingPollPending: "1s", api.SettingPollDownloading: "1s",
		api.SettingPollInstalling: "1s", api.SettingPollFailing: "1s",
	}}
	if err := d.client.Do(ctx, http.MethodPatch, "/v1/settings", change, nil); err != nil {
		return err
	}
	for i, region := range demoRegions {
		for k := 1; k <= demoAgentsPerRegion; k++ {
			id := region + "-agent-" + strconv.Itoa(k)
			p := d.newProcess(id, region, "agent", "--id", id, "--region", region, "--node", d.nodes[i].runtime.Mesh,
				"--swarm-listen", "127.0.0.1:0")
			p.env = tokenEnv(token)
			if err := p.start(); err != nil {
				return err
			}
			d.agents = append(d.agents, p)
		}
	}
	return waitFor(ctx, "every agent to poll", func() (bool, error) {
		for _, p := range d.agents {
			if err := p.exited(); err != nil {
				return false, err
			}
		}
		seen, err := d.polling(ctx)
		return len(seen) == len(d.agents), err
	})
}

// polling returns the agents that some node has heard of.
func (d *demo) polling(ctx context.Context) (map[string]api.Agent, error) {
	agents, err := api.List[api.Agent](ctx, d.client, "/v1/agents", map[string][]string{}, 0)
	seen := map[string]api.Agent{}
	for _, a := range agents {
		if a.Presence != nil {
			seen[a.ID] = a
		}
	}
	return seen, err
}

func (d *demo) stopAll() {
	for _, p := range append(d.agents, d.nodes...) {
		p.interrupt()
	}
	for _, p := range append(d.agents, d.nodes...) {
		p.wait(10 * time.Second)
	}
}

func readJSON(path string, into any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, into)
}

// waitFor polls until done. The last error is told when time runs out.
func waitFor(ctx context.Context, what string, done func() (bool, error)) error {
	for {
		ok, err := done()
		if ok {
			return nil
		}
		if _, dead := err.(processError); dead { //nolint:errorlint // never wrapped
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w (last: %w)", what, ctx.Err(), orNil(err))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func orNil(err error) error {
	if err == nil {
		return context.DeadlineExceeded
	}
	return err
}
