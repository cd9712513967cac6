package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"redflag/agent"
	"redflag/api"
	"redflag/telemetry"
)

const (
	stormPause = 20 * time.Millisecond // between two lines of an agent: 50 a second
	stormWord  = "a line of the storm"
	// stormPatience is how long the last lines may take after the storm.
	stormPatience = 2 * time.Minute
)

// stormSize is how many agents log for how long. REDFLAG_STORM=full asks for
// what `make storm` promises; otherwise it is small enough for every run.
func stormSize() (agents int, lasts time.Duration) {
	if os.Getenv("REDFLAG_STORM") == "full" {
		return 200, 20 * time.Second
	}
	return 30, 6 * time.Second
}

// stormy is a whole agent in this process: its own data directory, spool,
// certificate and polls.
type stormy struct {
	id     string
	out    *telemetry.Output
	log    hclog.Logger
	stderr started
}

// started is an agent's standard error, which tells when its log is spooled.
type started struct {
	once sync.Once
	done chan struct{}
}

func (s *started) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(`"agent started"`)) {
		s.once.Do(func() { close(s.done) })
	}
	return len(p), nil
}

// TestLogStorm: many agents log through nodes of which one is killed half-way,
// and every line that was spooled is found exactly once.
func TestLogStorm(t *testing.T) {
	if testing.Short() {
		t.Skip("a storm takes its time")
	}
	agents, lasts := stormSize()
	m := newMesh(t)
	procs := m.cluster()
	token := m.run("token", "create", "--seats", fmt.Sprint(agents))

	ctx, stop := context.WithCancel(t.Context())
	var running errgroup.Group
	defer func() {
		stop()
		require.NoError(t, running.Wait())
	}()
	regions, via := []string{"eu", "us", "ap"}, []string{"n1", "n2", "n3"}
	all := make([]*stormy, agents)
	for i := range all {
		s := &stormy{id: fmt.Sprintf("storm-%03d", i), stderr: started{done: make(chan struct{})}}
		s.out = telemetry.NewOutput(&s.stderr)
		s.log = telemetry.NewLogger("storm", s.out, false)
		all[i] = s
		a, err := agent.New(agent.Config{
			ID: s.id, Region: regions[i%3], Nodes: []string{procs[via[i%3]].runtime.Mesh}, Token: token,
			DataDir: m.path(s.id), SwarmAddr: "127.0.0.1:0", Version: "storm",
			LogOutput: s.out, Logger: telemetry.NewLogger("agent", s.out, false),
		})
		require.NoError(t, err)
		running.Go(func() error { return a.Run(ctx) })
	}
	for _, s := range all {
		select {
		case <-s.stderr.done:
		case <-time.After(patience):
			require.Fail(t, "an agent does not start", s.id)
		}
	}

	lines := int(lasts / stormPause)
	var storm errgroup.Group
	for _, s := range all {
		storm.Go(func() error { return s.write(ctx, lines) })
	}
	time.Sleep(lasts / 2)
	procs["n2"].kill()
	require.NoError(t, storm.Wait())
	require.NoError(t, os.Remove(m.path("n2", "runtime.json")))
	procs["n2"].start() // what it had taken is on its disk alone
	m.eventually("the killed node is back", func() bool { return readJSON(m.path("n2", "runtime.json"), &procs["n2"].runtime) == nil })

	missing, total := all, 0
	require.Eventually(t, func() bool {
		missing = slices.DeleteFunc(slices.Clone(missing), func(s *stormy) bool {
			found := m.stormLines(s.id)
			for n, times := range found {
				require.Equal(t, 1, times, "line %d of %s", n, s.id)
			}
			if len(found) < lines {
				return false
			}
			total += len(found)
			return true
		})
		return len(missing) == 0
	}, stormPatience, time.Second, "every line is found")
	require.Equal(t, agents*lines, total)
	t.Logf("%d agents spooled %d lines in %s through three nodes, one of which was killed: %d found, each once", agents, agents*lines, lasts, total)
}

// write logs at its pace, and catches up when the machine was busy.
func (s *stormy) write(ctx context.Context, lines int) error {
	tick := time.NewTicker(stormPause)
	defer tick.Stop()
	began := time.Now()
	for n := 0; n < lines; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		for ; n < lines && time.Duration(n)*stormPause <= time.Since(began); n++ {
			s.log.Info(stormWord, "n", n)
		}
	}
	return nil
}

// stormLines counts how often each line of an agent is found through the first
// node.
func (m *mesh) stormLines(id string) map[int]int {
	m.t.Helper()
	var credential struct{ Token string }
	require.NoError(m.t, readJSON(m.path("n1", "operator.json"), &credential))
	client := &api.Client{Servers: []string{m.first.runtime.API}, Bearer: credential.Token, HTTP: http.DefaultClient, Timeout: patience}
	found := map[int]int{}
	q := url.Values{"agent": {id}, "limit": {"2000"}}
	for {
		var page struct {
			Items  []api.LogLine
			Next   string
			Silent []string
		}
		if err := client.Do(m.t.Context(), http.MethodGet, "/v1/logs?"+q.Encode(), nil, &page); err != nil || len(page.Silent) > 0 {
			m.t.Logf("not everybody answers: %v %s", err, strings.Join(page.Silent, ", "))
			return found
		}
		for _, l := range page.Items {
			var line struct {
				Message string `json:"@message"`
				N       int    `json:"n"`
			}
			require.NoError(m.t, json.Unmarshal(l.Line, &line))
			if line.Message == stormWord {
				found[line.N]++
			}
		}
		if page.Next == "" {
			return found
		}
		q.Set("after", page.Next)
	}
}
