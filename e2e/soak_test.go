//go:build linux

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"redflag/api"
	"redflag/durable"
)

// The soak's environment: how long it takes, and what its random choices follow.
const (
	soakFor  = "REDFLAG_SOAK"
	soakSeed = "REDFLAG_SOAK_SEED"
)

const (
	soakAgents = 3 // per region
	// soakWitness is the region whose node is never killed, and soakWitnessAgent
	// names the agent of each region that is not: what grows in them has had the
	// whole soak to grow.
	soakWitness      = "us"
	soakWitnessAgent = "-agent-1"
	// Those of this region have small disks.
	soakSmall      = "ap"
	soakSmallAgent = "ap-agent-3"
	smallNodeDisk  = 512 << 20
	smallAgentDisk = 64 << 20
	// soakModule is what runs between two versions.
	soakModule = "note"
	// soakVersions is how long an operator waits between two versions.
	soakVersions = 12 * time.Second
	// soakPatience bounds everything that must come right once no fault is left.
	soakPatience = 3 * time.Minute
)

// soak is a mesh of three regions under load and faults.
type soak struct {
	*wideMesh
	began   time.Time
	clients map[string]*api.Client // by region

	mu       sync.Mutex
	acked    map[string]api.CreateRolloutRequest // by rollout id
	asked    int                                 // rollouts, acknowledged or not
	versions int                                 // how many are published: 1.0.1 and so on
	writes   []time.Time                         // when each was acknowledged
	faults   []fault

	commands map[string]api.Command // every one, once all have ended
	results  []result
	last     []string // what a failed run prints after all else
}

// TestSoak runs a mesh under load and faults for as long as REDFLAG_SOAK says,
// and checks at the end that nothing was lost, done twice or leaked.
func TestSoak(t *testing.T) {
	lasts, seed := soakSize(t)
	fmt.Printf("soak: %s with seed %d; the same faults again: make soak DURATION=%s SEED=%d\n", lasts, seed, lasts, seed)
	s := newSoak(t)

	s.say("warming up")
	s.load(lasts/6, nil)
	s.settle()
	before := s.footprints()

	s.say("faults begin")
	s.load(lasts-lasts/6, func(ctx context.Context, g *errgroup.Group) {
		g.Go(func() error { return s.injure(ctx, nodeFaults, rand.New(rand.NewPCG(seed, 1))) })
		g.Go(func() error { return s.injure(ctx, agentFaults, rand.New(rand.NewPCG(seed, 2))) })
	})

	s.say("faults are over; the last version goes out")
	s.cutOver()
	s.settle()
	s.checkCommands()
	s.checkExecutions()
	s.checkVersions()
	s.checkAudit()
	s.checkGrowth(before)
	s.report()
}

func soakSize(t *testing.T) (lasts time.Duration, seed uint64) {
	t.Helper()
	d := os.Getenv(soakFor)
	if d == "" {
		t.Skip("make soak runs it")
	}
	lasts, err := time.ParseDuration(d)
	require.NoError(t, err)
	require.GreaterOrEqual(t, lasts, time.Minute, "a shorter soak says nothing")
	seed = rand.Uint64N(1_000_000)
	if s := os.Getenv(soakSeed); s != "" {
		seed, err = strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
	}
	return lasts, seed
}

func newSoak(t *testing.T) *soak {
	t.Helper()
	require.Zero(t, os.Geteuid(), "the soak partitions namespaces and fills file systems of its own: run it as root")
	s := &soak{began: time.Now(), clients: map[string]*api.Client{}, acked: map[string]api.CreateRolloutRequest{}}
	t.Cleanup(func() {
		for _, line := range s.last {
			t.Log(line)
		}
	})
	m := newWideMesh(t, soakAgents, map[string]int{"n3": smallNodeDisk, soakSmallAgent: smallAgentDisk})
	s.wideMesh = m
	var credential struct{ Token string }
	require.NoError(t, readJSON(m.path("n1", "operator.json"), &credential))
	for region := range m.nodes {
		s.clients[region] = &api.Client{Bearer: credential.Token, HTTP: &http.Client{Transport: s.into(region)}, Timeout: 5 * time.Second}
		s.find(region)
	}
	file, err := s.bundle(soakModule, "1", 16<<10, "run")
	require.NoError(t, err)
	s.run("publish", file, "--name", soakModule, "--version", "1", "--type", "exec")
	return s
}

// into makes connections from within a region's node.
func (s *soak) into(region string) *http.Transport {
	return &http.Transport{
		MaxIdleConnsPerHost: 1, IdleConnTimeout: 5 * time.Second,
		DialContext: func(ctx context.Context, network, addr string) (c net.Conn, err error) {
			err = s.hosts[region].Do(func() error {
				c, err = (&net.Dialer{Timeout: 2 * time.Second}).DialContext(ctx, network, addr)
				return err
			})
			return c, err
		},
	}
}

// find takes up where the node of a region listens.
func (s *soak) find(region string) {
	p := s.nodes[region]
	var at struct{ Mesh, API string }
	if readJSON(s.path(p.id, "runtime.json"), &at) != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients[region].Servers = []string{at.API}
}

// at returns a client of the node of a region.
func (s *soak) at(region string) *api.Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := *s.clients[region]
	return &c
}

// say prints a line of progress.
func (s *soak) say(format string, args ...any) {
	d := time.Since(s.began)
	fmt.Printf("%02d:%04.1f %s\n", int(d.Minutes()), d.Seconds()-60*float64(int(d.Minutes())), fmt.Sprintf(format, args...))
}

// load runs an operator, and what else there is, for so long.
func (s *soak) load(lasts time.Duration, more func(context.Context, *errgroup.Group)) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), lasts)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.operate(ctx) })
	if more != nil {
		more(ctx, g)
	}
	require.NoError(s.t, g.Wait())
}

// operate publishes versions, rolls each out and has a module run in between, as
// fast as the cluster takes it but once a second at most.
func (s *soak) operate(ctx context.Context) error {
	var published time.Time
	for ctx.Err() == nil {
		req := api.CreateRolloutRequest{Kind: api.KindRunModule, Artifact: soakModule, Version: "1", Selector: api.Selector{All: true}, Plan: soakPlan}
		if time.Since(published) > soakVersions {
			published = time.Now()
			version, err := s.publishNext(ctx)
			if err != nil {
				return err
			}
			if version == "" {
				continue // no node took it; it is tried again
			}
			req.Kind, req.Artifact, req.Version = api.KindInstall, "app", version
		}
		if err := s.create(ctx, req); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
	return nil
}

// soakPlan repeats what faults break, but soon.
var soakPlan = api.Plan{Retries: api.RetryPolicy{
	api.ErrorNetwork: soakRetry, api.ErrorDisk: soakRetry, api.ErrorInstall: soakRetry,
}}

var soakRetry = api.RetryRule{Tries: 3, Base: api.Duration(2 * time.Second), Limit: api.Duration(10 * time.Second)}

// create asks one node after the other for a rollout until one acknowledges it.
func (s *soak) create(ctx context.Context, req api.CreateRolloutRequest) error {
	s.asked++
	req.ID = fmt.Sprintf("soak-%05d", s.asked)
	for ctx.Err() == nil {
		for region := range s.nodes {
			err := s.at(region).Do(ctx, http.MethodPost, "/v1/rollouts", req, nil)
			if err == nil {
				s.mu.Lock()
				s.acked[req.ID] = req
				s.writes = append(s.writes, time.Now())
				s.mu.Unlock()
				return nil
			}
			if slices.Contains([]api.Code{api.CodeInvalid, api.CodeConflict, api.CodeDenied, api.CodeUnauthenticated, api.CodeTooLarge}, api.CodeOf(err)) {
				return fmt.Errorf("create rollout %s: %w", req.ID, err) // no fault of ours explains it
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	return nil
}

// publishNext signs the next version, through the first node that takes it. It
// returns "" if none did.
func (s *soak) publishNext(ctx context.Context) (version string, err error) {
	version = fmt.Sprintf("1.0.%d", s.versions+1)
	file, err := s.bundle("app", version, 2<<20, "install", "rollback")
	if err != nil {
		return "", err
	}
	for _, region := range []string{"eu", "us", "ap"} {
		try, cancel := context.WithTimeout(ctx, 20*time.Second)
		out, err := s.cli(try, region, "publish", file, "--name", "app", "--version", version, "--type", "exec", "--no-wait", "--deltas", "0")
		cancel()
		if err == nil {
			s.versions++
			return version, nil
		}
		s.say("publish %s through %s: %s", version, region, strings.ReplaceAll(strings.TrimSpace(out), "\n", "; "))
	}
	return "", nil
}

// cli runs the operator's tool against the node of one region.
func (s *soak) cli(ctx context.Context, region string, args ...string) (out string, err error) {
	cmd := s.hosts[region].Command(ctx, s.bin, append(args, "--server", s.at(region).Servers[0])...)
	cmd.Env = append(os.Environ(),
		"REDFLAG_CREDENTIAL="+s.path("n1", "operator.json"), "REDFLAG_KEYS="+s.path("keys"), "REDFLAG_PLAIN_KEYS=true")
	b, err := cmd.CombinedOutput()
	return string(b), err
}

// bundle makes a payload: scripts that note each of their runs, and bytes for the
// swarm to carry.
func (s *soak) bundle(name, version string, size int, steps ...string) (file string, err error) {
	file = s.path(name + "-" + version + ".tar")
	if _, err := os.Stat(file); err == nil {
		return file, nil // it was offered before
	}
	dir := s.path("bundle")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	for _, step := range steps {
		script := "#!/bin/sh\nset -e\necho " + step + " $REDFLAG_VERSION >>\"$REDFLAG_STATE_DIR/" + soakJournal + "\"\nsleep 0.1\n"
		if err := durable.WriteFile(filepath.Join(dir, step), []byte(script), 0o700); err != nil {
			return "", err
		}
	}
	if err := durable.WriteFile(filepath.Join(dir, "data"), payload(uint64(s.versions), size), 0o600); err != nil {
		return "", err
	}
	out, err := exec.Command("tar", append([]string{"-C", dir, "-cf", file, "data"}, steps...)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("make a bundle: %w: %s", err, out)
	}
	return file, nil
}

// cutOver rolls out a last version to everybody.
func (s *soak) cutOver() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), soakPatience)
	defer cancel()
	for version := ""; version == ""; {
		var err error
		version, err = s.publishNext(ctx)
		require.NoError(s.t, err)
		require.NoError(s.t, ctx.Err(), "no node takes a version any more")
	}
	req := api.CreateRolloutRequest{Kind: api.KindInstall, Artifact: "app", Version: fmt.Sprintf("1.0.%d", s.versions), Selector: api.Selector{All: true}, Plan: soakPlan}
	require.NoError(s.t, s.create(ctx, req))
}

// settle waits until every rollout that was acknowledged has ended.
func (s *soak) settle() {
	s.t.Helper()
	var open []string
	for deadline := time.Now().Add(soakPatience); ; time.Sleep(time.Second) {
		if len(s.faults) > 0 { // a full disk ends them, and they may take their time
			require.NoError(s.t, s.revive(s.nodes[soakSmall]))
			require.NoError(s.t, s.revive(s.procs[soakSmallAgent]))
		}
		open = nil
		for _, region := range soakRegions { // each answers for itself, and may be behind
			client := s.at(region)
			for id := range s.acked {
				var r api.Rollout
				if err := client.Do(s.t.Context(), http.MethodGet, "/v1/rollouts/"+id, nil, &r); err != nil {
					open = append(open, fmt.Sprintf("the node of %s: %s", region, err))
					break
				}
				if r.State != api.RolloutDone {
					open = append(open, fmt.Sprintf("%s says that rollout %s is %s: %v", region, id, r.State, r.Counts))
				}
			}
		}
		if len(open) == 0 || time.Now().After(deadline) {
			break
		}
	}
	if len(open) > 0 {
		open = append(open, s.unfinished()...)
		s.t.Fatalf("not every acknowledged rollout ends:\n%s", strings.Join(open, "\n"))
	}
	s.say("all %d acknowledged rollouts have ended", len(s.acked))
}
