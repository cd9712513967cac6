package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"redflag/api"
	"redflag/publish"
)

// demoRollout bounds how long the rollout may take.
const demoRollout = 5 * time.Minute

// rollOut publishes the payload, rolls it out, makes trouble if asked to, and
// counts what is on the agents' disks.
func (d *demo) rollOut(ctx context.Context) (summary, error) {
	ctx, cancel := context.WithTimeout(ctx, demoRollout)
	defer cancel()
	p := &publish.Publisher{Client: d.client, Keys: d.repo}
	artifact, err := p.File(ctx, d.payload, demoArtifact, demoVersion, nil)
	if err != nil {
		return summary{}, err
	}
	d.say("published %s %s, %s", artifact.Name, artifact.Version, api.Bytes(artifact.Length))
	missing, err := waitSeeded(ctx, d.client, artifact, nil)
	if err != nil {
		return summary{}, err
	}
	if len(missing) > 0 {
		return summary{}, fmt.Errorf("no copy has reached %s", strings.Join(missing, ", "))
	}
	d.say("every region has its copy")
	caps := api.SettingsChange{Values: map[api.SettingKey]string{
		api.SettingAgentDownload: d.limit, api.SettingAgentUpload: d.limit, api.SettingNodeUpload: d.limit,
	}}
	if err := d.client.Do(ctx, http.MethodPatch, "/v1/settings", caps, nil); err != nil {
		return summary{}, err
	}
	start := time.Now()
	rollout, err := createRollout(ctx, d.client, api.CreateRolloutRequest{
		ID: "demo", Kind: api.KindInstall, Artifact: demoArtifact, Version: demoVersion, Selector: api.Selector{All: true},
	})
	if err != nil {
		return summary{}, err
	}
	d.say("rollout to %d agents, each capped at %s; correlation %s", rollout.Agents, d.limit, rollout.CorrelationID)
	s := summary{Agents: len(d.agents), PayloadBytes: artifact.Length, PayloadSHA256: artifact.SHA256, CorrelationID: rollout.CorrelationID}
	if rollout, err = d.watch(ctx, &s); err != nil {
		return s, err
	}
	s.Seconds = time.Since(start).Seconds()
	d.say("rollout is %s", rollout.State)
	if err := d.recover(ctx, &s); err != nil {
		return s, err
	}
	return s, d.count(ctx, rollout, artifact, &s)
}

// watch shows progress until the rollout ends, and makes trouble on the way.
func (d *demo) watch(ctx context.Context, s *summary) (api.Rollout, error) {
	out, ok := d.out.(*os.File)
	if !ok {
		out = os.Stderr
	}
	screen := newRegionScreen(out)
	for {
		r, err := getRollout(ctx, d.client, "demo")
		if err == nil {
			screen.draw(r)
			if d.chaos {
				err = d.makeTrouble(ctx, r, s)
			}
			if r.State != api.RolloutRunning {
				return r, err
			}
		}
		if err != nil {
			d.say("waiting: %v", err)
		}
		select {
		case <-ctx.Done():
			return r, fmt.Errorf("the rollout did not end: %w", ctx.Err())
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// makeTrouble kills the leader once every region downloads, and an agent of
// another region once it has a good part of the payload.
func (d *demo) makeTrouble(ctx context.Context, r api.Rollout, s *summary) error {
	if !s.LeaderKilled && r.Transfer.Done > s.PayloadBytes {
		var nodes []api.Node
		if err := d.client.Do(ctx, http.MethodGet, "/v1/nodes", nil, &nodes); err != nil {
			return err
		}
		for _, n := range nodes {
			if n.Leader {
				p := d.process(n.ID)
				p.kill()
				s.LeaderKilled, s.leader = true, p
				d.say("killed the leader, %s", n.ID)
			}
		}
	}
	if s.AgentKilled || !s.LeaderKilled {
		return nil
	}
	commands, err := api.List[api.Command](ctx, d.client, "/v1/commands", map[string][]string{"rollout": {"demo"}, "state": {string(api.StateRunning)}}, 0)
	if err != nil {
		return err
	}
	for _, c := range commands {
		if c.Region == s.leader.region || c.Phase != api.PhaseDownloading || c.Transfer.Done == 0 || c.Transfer.Done < c.Transfer.Total/5 || c.Transfer.Done > c.Transfer.Total*4/5 {
			continue
		}
		p := d.process(c.AgentID)
		p.kill()
		s.AgentKilled, s.AgentKilledAt = true, c.Transfer.Done
		d.say("killed %s with %s of its payload, and started it again", p.id, api.Bytes(c.Transfer.Done))
		return p.start()
	}
	return nil
}

// recover starts the killed leader again and waits until it has applied what
// the others had by then.
func (d *demo) recover(ctx context.Context, s *summary) error {
	if s.leader == nil {
		return nil
	}
	newest, _, err := d.applied(ctx, "")
	if err != nil {
		return err
	}
	if err := s.leader.start(); err != nil {
		return err
	}
	err = waitFor(ctx, s.leader.id+" to catch up", func() (bool, error) {
		_, own, err := d.applied(ctx, s.leader.id)
		return own >= newest, err
	})
	if err == nil {
		s.LeaderCaughtUp = true
		d.say("%s is back and has caught up", s.leader.id)
	}
	return err
}

// applied returns the highest index that any node has applied, and that of the
// node with this id.
func (d *demo) applied(ctx context.Context, id string) (newest, own uint64, err error) {
	var all []api.Health
	err = d.client.Do(ctx, http.MethodGet, "/v1/cluster/health", nil, &all)
	for _, h := range all {
		newest = max(newest, h.AppliedIndex)
		if h.Node == id {
			own = h.AppliedIndex
		}
	}
	return newest, own, err
}

func (d *demo) process(id string) *process {
	all := slices.Concat(d.nodes, d.agents)
	return all[slices.IndexFunc(all, func(p *process) bool { return p.id == id })]
}

// count believes nobody: it hashes what each agent has installed.
func (d *demo) count(ctx context.Context, r api.Rollout, a api.Artifact, s *summary) error {
	commands, err := api.List[api.Command](ctx, d.client, "/v1/commands", map[string][]string{"rollout": {r.ID}}, 0)
	if err != nil {
		return err
	}
	wan := map[string]int64{}
	for _, c := range commands {
		if c.State == api.StateSucceeded { // the agent says so only after both checks
			s.Verified++
		}
		if c.Failure != nil {
			s.Failures = append(s.Failures, c.AgentID+": "+c.Failure.String())
		}
		if c.Transfer != nil {
			s.BytesFromPeers += c.Transfer.FromPeers
			s.BytesFromNodes += c.Transfer.FromNodes
			wan[c.Region] += c.Transfer.FromOtherRegions
		}
	}
	for _, p := range d.agents {
		sum, err := hashInstalled(filepath.Join(p.dir, "artifacts", demoArtifact, "current"))
		if err != nil {
			s.Failures = append(s.Failures, p.id+": "+err.Error())
		} else if sum == a.SHA256 {
			s.Installed++
		}
	}
	var health []api.Health
	if err := d.client.Do(ctx, http.MethodGet, "/v1/cluster/health", nil, &health); err != nil {
		return err
	}
	s.WANCopies = map[string]float64{}
	for _, h := range health {
		wan[h.Region] += h.WANBytes[a.InfoHash]
		s.WANCopies[h.Region] = float64(wan[h.Region]) / float64(a.Length)
	}
	seen, err := d.polling(ctx)
	for _, p := range d.agents {
		home := slices.ContainsFunc(d.nodes, func(n *process) bool {
			return n.region == p.region && seen[p.id].Presence != nil && n.id == seen[p.id].Presence.Node
		})
		if !home {
			s.FailedOver++
		}
	}
	return err
}

// hashInstalled returns the SHA-256 of the only file in dir, in hex. The
// agent's own notes are hidden files.
func hashInstalled(dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	entries = slices.DeleteFunc(entries, func(e os.DirEntry) bool { return strings.HasPrefix(e.Name(), ".") })
	if len(entries) != 1 {
		return "", fmt.Errorf("%d files are installed instead of one", len(entries))
	}
	f, err := os.Open(filepath.Join(dir, entries[0].Name()))
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
