package node

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/stretchr/testify/require"

	"redflag/api"
	"redflag/consensus/state"
)

// scrape fetches the page as Prometheus does.
func (r *running) scrape() string {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, r.api+"/metrics", nil)
	require.NoError(r.t, err)
	req.Header.Set("Authorization", "Bearer "+r.operator.Bearer)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(r.t, err)
	defer resp.Body.Close()
	require.Equal(r.t, http.StatusOK, resp.StatusCode)
	page, err := io.ReadAll(resp.Body)
	require.NoError(r.t, err)
	return string(page)
}

// names returns the metrics of a page, and how many series it has.
func names(page string) (all []string, series int) {
	s := bufio.NewScanner(strings.NewReader(page))
	for s.Scan() {
		if f := strings.Fields(s.Text()); len(f) > 2 && f[1] == "TYPE" {
			all = append(all, f[2])
		} else if !strings.HasPrefix(s.Text(), "#") {
			series++
		}
	}
	return all, series
}

// busy is a node on which one update was rolled back and one succeeded.
func busy(t *testing.T) *running {
	t.Helper()
	r := start(t)
	meta := state.Metadata{Version: 1, Bytes: []byte("{}")}
	_, err := r.node.propose(t.Context(), state.TypePublishArtifact, state.PublishArtifact{
		Artifact: api.Artifact{
			Name: "app", Version: "1", Length: 1, SHA256: strings.Repeat("a", 64),
			InfoHash: strings.Repeat("b", 40), PieceLength: 1 << 18, OriginNode: "gone",
		},
		Targets: meta, Snapshot: meta, Timestamp: meta,
	})
	require.NoError(t, err)
	require.True(t, eventually(func() bool { return r.node.state().Level() == state.Level }), "the node announces what it knows")
	for i, rep := range []api.Report{
		{State: api.StateRolledBack, Failure: &api.Failure{Class: api.ErrorHealth, Message: "exit 3"}, Transfer: &api.Transfer{FromPeers: 70, FromNodes: 30, FromOtherRegions: 10}},
		{State: api.StateSucceeded, Transfer: &api.Transfer{FromPeers: 900, FromNodes: 100}},
	} {
		m := r.member(fmt.Sprint("a", i))
		id := fmt.Sprint("r", i)
		r.do("/v1/rollouts", api.CreateRolloutRequest{ID: id, Kind: api.KindInstall, Artifact: "app", Version: "1", Selector: api.Selector{Agents: []string{m.id}}}, nil)
		require.True(t, eventually(func() bool { return len(m.poll(api.PollRequest{Activity: api.ActivityIdle}).Commands) == 1 }))
		rep.ID, rep.CommandID, rep.At = "x", id+":"+m.id, time.Now()
		require.Nil(t, m.sends(rep))
	}
	require.True(t, eventually(func() bool { return strings.Contains(r.scrape(), `result="succeeded"`) }), "outcomes are counted")
	return r
}

func TestMetricsPage(t *testing.T) {
	t.Parallel()
	r := busy(t)
	page := r.scrape()
	for _, want := range []string{
		`redflag_updates_total{artifact="app 1",class="health",region="eu",result="rolled_back"} 1`,
		`redflag_updates_total{artifact="app 1",class="",region="eu",result="succeeded"} 1`,
		`redflag_update_duration_seconds_count{result="succeeded"} 1`,
		`redflag_update_bytes_total{source="peer"} 970`,
		`redflag_update_bytes_total{source="node"} 120`,
		`redflag_update_bytes_total{source="wan"} 10`,
		`redflag_raft_leader 1`,
		`redflag_agents_enrolled{region="eu"} 2`,
		`redflag_cap_bytes_per_second{direction="upload"} +Inf`,
		`redflag_health_check_status{check="raft"} 0`,
	} {
		require.Contains(t, page, want+"\n")
	}
	families, err := r.node.metrics.registry.Gather()
	require.NoError(t, err)
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	require.NoError(t, err)
	require.Empty(t, problems)

	resp, err := http.Get(r.api + "/metrics")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusUnauthorized, resp.StatusCode, "nobody reads them without a token")

	before, series := names(page)
	require.NotEmpty(t, before)
	for i := range 20 {
		r.member(fmt.Sprint("more", i)).poll(api.PollRequest{Activity: api.ActivityIdle})
	}
	after, grown := names(r.scrape())
	require.Equal(t, before, after)
	// The routes of the new requests may be there for the first time.
	require.LessOrEqual(t, grown, series+4, "no series grows with the agents")
}

// Every metric is documented, and what is documented is there.
func TestMetricsAreTheDocumentedOnes(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../docs/metrics.md")
	require.NoError(t, err)
	var documented []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(redflag_[a-z_]+)").FindAllStringSubmatch(string(doc), -1) {
		documented = append(documented, m[1])
	}
	all, _ := names(busy(t).scrape())
	all = slices.DeleteFunc(all, func(name string) bool {
		return strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_")
	})
	slices.Sort(documented)
	slices.Sort(all)
	require.Equal(t, documented, all)
}

// promtool has the last word, on the page and on what examples/monitoring says
// of it.
func TestPromtoolAgrees(t *testing.T) {
	t.Parallel()
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed; the lint of client_golang has run")
	}
	run := func(stdin string, args ...string) {
		cmd := exec.CommandContext(t.Context(), promtool, args...)
		cmd.Dir, cmd.Stdin = "../examples/monitoring", bytes.NewBufferString(stdin)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "promtool %v\n%s", args, out)
		t.Logf("promtool %s\n%s", strings.Join(args, " "), out)
	}
	run(busy(t).scrape(), "check", "metrics")
	run("", "check", "config", "--syntax-only", "prometheus.yml")
	run("", "check", "rules", "alerts.yml")
	run("", "test", "rules", "alerts_test.yml")
}

// The alerts and the dashboard speak of metrics that exist.
func TestMonitoringExamplesNameRealMetrics(t *testing.T) {
	t.Parallel()
	all, _ := names(busy(t).scrape())
	suffix := regexp.MustCompile(`_(bucket|count|sum)$`)
	for _, file := range []string{"alerts.yml", "dashboard.json"} {
		b, err := os.ReadFile("../examples/monitoring/" + file)
		require.NoError(t, err)
		used := regexp.MustCompile(`redflag_[a-z_]+`).FindAllString(string(b), -1)
		require.NotEmpty(t, used)
		for _, name := range used {
			base := suffix.ReplaceAllString(name, "")
			require.True(t, slices.Contains(all, name) || slices.Contains(all, base), "%s names %s", file, name)
		}
	}
}

func TestUpdateMetrics(t *testing.T) {
	t.Parallel()
	r := busy(t)
	var m api.UpdateMetrics
	get := func(query string) error {
		m = api.UpdateMetrics{}
		return r.operator.Do(t.Context(), http.MethodGet, "/v1/metrics/updates?"+query, nil, &m)
	}
	sum := func() (ended int64, names []string) {
		for _, s := range m.Series {
			names = append(names, s.Name)
			for _, p := range s.Points {
				for _, c := range p.Counts {
					ended += c
				}
			}
		}
		return ended, names
	}
	for by, want := range map[string][]string{
		"": {"all"}, "artifact": {"app 1"}, "region": {"eu"}, "result": {"rolled_back", "succeeded"}, "class": {"health", "none"},
	} {
		for _, step := range []string{"5m", "1h"} {
			require.NoError(t, get("from=2h&step="+step+"&by="+by))
			ended, names := sum()
			require.Equal(t, int64(2), ended)
			require.Equal(t, want, names)
		}
	}
	require.Error(t, get("step=1m"))
	require.Error(t, get("by=agent"))
	require.Error(t, get("from=1h&to=2h"))
	require.NoError(t, get("from=48h&to=24h"))
	require.Empty(t, m.Series)
}
