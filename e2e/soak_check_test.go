//go:build linux

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/api"
)

// soakJournal is the file in which the scripts of a payload note their runs.
const soakJournal = "runs"

// result is one line of the table at the end.
type result struct{ what, found string }

// commands lists every command as the node of a region has it.
func (s *soak) commandsAt(region string) (map[string]api.Command, error) {
	all, q := map[string]api.Command{}, url.Values{"limit": {"1000"}}
	for {
		var page struct {
			Items []api.Command
			Next  string
		}
		if err := s.at(region).Do(s.t.Context(), http.MethodGet, "/v1/commands?"+q.Encode(), nil, &page); err != nil {
			return nil, err
		}
		for _, c := range page.Items {
			all[c.ID] = c
		}
		if page.Next == "" {
			return all, nil
		}
		q.Set("after", page.Next)
	}
}

// unfinished tells what has not ended, and leaves it to be printed last, for the
// logs of a whole mesh come between.
func (s *soak) unfinished() (lines []string) {
	s.t.Helper()
	agents := map[string]bool{}
	for _, region := range soakRegions {
		commands, err := s.commandsAt(region)
		if err != nil {
			lines = append(lines, fmt.Sprintf("the node of %s: %s", region, err))
		}
		for _, c := range commands {
			if !c.State.Terminal() {
				agents[c.AgentID] = true
				lines = append(lines, fmt.Sprintf("%s says %+v", region, c))
			}
		}
	}
	for id := range agents {
		lines = append(lines, fmt.Sprintf("the log of %s ends\n%s", id, tail(s.path(id+".log"))))
	}
	s.last = lines
	return lines
}

// checkCommands: every command that an answer promised is there, on every node,
// and has ended, in the same way on all of them.
func (s *soak) checkCommands() {
	s.t.Helper()
	s.commands = map[string]api.Command{}
	for _, region := range soakRegions {
		got, err := s.commandsAt(region)
		require.NoError(s.t, err)
		for id := range s.acked {
			for _, agents := range s.agents {
				for _, agent := range agents {
					c, ok := got[id+":"+agent]
					require.True(s.t, ok, "%s knows nothing of command %s:%s, which was acknowledged", region, id, agent)
					require.True(s.t, c.State.Terminal(), "command %s is %s", c.ID, c.State)
				}
			}
		}
		for id, c := range got {
			if first, ok := s.commands[id]; ok {
				require.Equal(s.t, first.State, c.State, "%s says something else of command %s than the first node", region, id)
			}
			s.commands[id] = c
		}
		require.Len(s.t, got, len(s.commands), "%s has other commands than the first node", region)
	}
	states := map[api.State]int{}
	for _, c := range s.commands {
		states[c.State]++
	}
	s.found("acknowledged rollouts, none of their commands lost", "%d", len(s.acked))
	s.found("commands, each ended, the same on every node", "%d: %v", len(s.commands), states)
}

// checkExecutions: an agent begins no command twice. A command that succeeded
// has run its script, exactly once; one that failed may have, once.
func (s *soak) checkExecutions() {
	s.t.Helper()
	type job struct{ agent, artifact, version string }
	told, succeeded, total := map[job]int{}, map[job]int{}, 0
	for _, c := range s.commands {
		at := job{c.AgentID, c.Artifact, c.Version}
		told[at]++
		if c.State == api.StateSucceeded {
			succeeded[at]++
		}
	}
	for id := range s.procs {
		ran := map[job]int{}
		for artifact, step := range map[string]string{"app": "install ", soakModule: "run "} {
			b, err := os.ReadFile(s.path(id, "artifacts", artifact, "state", soakJournal))
			require.NoError(s.t, err)
			for line := range strings.Lines(string(b)) {
				if version, ok := strings.CutPrefix(strings.TrimSpace(line), step); ok {
					ran[job{id, artifact, version}]++
					total++
				}
			}
		}
		for at, n := range ran {
			require.LessOrEqual(s.t, n, told[at], "%+v ran more often than it was told to", at)
		}
		for at, n := range succeeded {
			if at.agent == id {
				require.LessOrEqual(s.t, n, ran[at], "%+v succeeded more often than it ran", at)
			}
		}
		for command, n := range s.begun(id) {
			require.Equal(s.t, 1, n, "%s began command %s again", id, command)
		}
	}
	s.found("scripts run, each once for its command", "%d", total)
}

// begun counts how often an agent's log says that a command began anew, rather
// than went on after a restart.
func (s *soak) begun(agent string) map[string]int {
	s.t.Helper()
	begun := map[string]int{}
	sc := bufio.NewScanner(strings.NewReader(s.log(agent)))
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		var line struct {
			Message string `json:"@message"`
			Command string `json:"command"`
			Resumed bool   `json:"resumed"`
		}
		if json.Unmarshal(sc.Bytes(), &line) == nil && line.Message == "command started" && !line.Resumed {
			begun[line.Command]++
		}
	}
	require.NoError(s.t, sc.Err())
	require.NotEmpty(s.t, begun, "the log of %s tells what it began", agent)
	return begun
}

// checkVersions: every machine runs the last version, and says so.
func (s *soak) checkVersions() {
	s.t.Helper()
	last := fmt.Sprintf("1.0.%d", s.versions)
	for id := range s.procs {
		current, err := filepath.EvalSymlinks(s.path(id, "artifacts", "app", "current"))
		require.NoError(s.t, err)
		require.Equal(s.t, last, filepath.Base(current), "what %s runs", id)
		require.Eventually(s.t, func() bool {
			var a api.Agent
			err := s.at(soakWitness).Do(s.t.Context(), http.MethodGet, "/v1/agents/"+id, nil, &a)
			return err == nil && a.Presence != nil && len(a.Presence.Installed) == 1 && a.Presence.Installed[0].Version == last
		}, patience, 200*time.Millisecond, "%s says that it runs %s", id, last)
	}
	s.found("agents, all on the last of the published versions", "%d on %s", len(s.procs), last)
}

func (s *soak) checkAudit() {
	s.t.Helper()
	out, err := s.cli(s.t.Context(), soakWitness, "audit", "--verify")
	require.NoError(s.t, err, out)
	s.found("audit chain", "%s", strings.TrimSpace(out))
}

// footprint is what a process takes of its machine.
type footprint struct {
	files      int
	memory     int64 // bytes of its own
	goroutines int   // of nodes; agents serve no metrics
}

// footprints waits until the mesh is quiet and returns the most that each
// process takes then.
func (s *soak) footprints() map[string]footprint {
	s.t.Helper()
	most := map[string]footprint{}
	for range 5 {
		time.Sleep(2 * time.Second)
		for id, f := range s.footprintsNow() {
			m := most[id]
			most[id] = footprint{max(m.files, f.files), max(m.memory, f.memory), max(m.goroutines, f.goroutines)}
		}
	}
	return most
}

func (s *soak) footprintsNow() map[string]footprint {
	s.t.Helper()
	all := map[string]footprint{}
	take := func(p *proc) footprint {
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
		require.NoError(s.t, err, "%s has ended by itself", p.id)
		return footprint{files: len(entries), memory: ownMemory(s.t, p)}
	}
	for id, p := range s.procs {
		all[id] = take(p)
	}
	for region, p := range s.nodes {
		f := take(p)
		f.goroutines = s.goroutines(region)
		all[p.id] = f
	}
	return all
}

func (s *soak) goroutines(region string) (n int) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	page, err := s.at(region).Raw(ctx, "/metrics", 4<<20)
	require.NoError(s.t, err)
	_, rest, found := bytes.Cut(page, []byte("\ngo_goroutines "))
	require.True(s.t, found, "the metrics of a node count its goroutines")
	_, err = fmt.Sscan(string(rest), &n)
	require.NoError(s.t, err)
	return n
}

// What may come on top of what a process took after the warm-up: connections of
// agents whose own node was gone, tables and segments of a store that has more in
// it, and of a node the store's cache of 64 MB.
const (
	moreFiles      = 40
	moreGoroutines = 80
	moreOfNode     = 48 << 20
	moreOfAgent    = 8 << 20
)

// checkGrowth compares what processes take when nothing happens with what they
// took then before the faults.
func (s *soak) checkGrowth(before map[string]footprint) {
	s.t.Helper()
	var grown []string
	var now map[string]footprint
	ok := func() bool {
		grown, now = nil, s.footprintsNow()
		for id, f := range now {
			b := before[id]
			memory := int64(moreOfAgent)
			if b.goroutines > 0 {
				memory = moreOfNode
			}
			if f.files > b.files+moreFiles || f.goroutines > b.goroutines+moreGoroutines || f.memory > b.memory+memory {
				grown = append(grown, fmt.Sprintf("%s: %+v, before %+v", id, f, b))
			}
		}
		return len(grown) == 0
	}
	for deadline := time.Now().Add(patience); !ok() && time.Now().Before(deadline); time.Sleep(2 * time.Second) {
	}
	require.Empty(s.t, grown, "processes grow")
	for _, id := range slices.Sorted(maps.Keys(now)) {
		f, b := now[id], before[id]
		what := fmt.Sprintf("%s: files %d → %d, memory %.1f → %.1f MiB", id, b.files, f.files, mib(b.memory), mib(f.memory))
		if b.goroutines > 0 {
			what += fmt.Sprintf(", goroutines %d → %d", b.goroutines, f.goroutines)
		}
		s.found("growth, from the warm-up to the end", "%s", what)
	}
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }

func (s *soak) found(what, format string, args ...any) {
	s.results = append(s.results, result{what, fmt.Sprintf(format, args...)})
}

// report prints what was done to the mesh and what came of it.
func (s *soak) report() {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nFAULT\tTIMES\tSECONDS\tWRITES MEANWHILE\tLONGEST WAIT FOR ONE")
	kinds := slices.Concat(nodeFaults, agentFaults)
	for _, kind := range kinds {
		times, writes, lasted, wait := 0, 0, 0.0, time.Duration(0)
		for _, f := range s.faults {
			if f.kind == kind.name {
				n, longest := s.writesIn(f.began, f.ended)
				times, writes, wait = times+1, writes+n, max(wait, longest)
				lasted += f.ended.Sub(f.began).Seconds()
			}
		}
		fmt.Fprintf(w, "%s\t%d\t%.1f\t%d\t%.1f s\n", kind.name, times, lasted, writes, wait.Seconds())
	}
	fmt.Fprintln(w, "\nINVARIANT\tFOUND")
	for _, r := range s.results {
		fmt.Fprintf(w, "%s\t%s\n", r.what, r.found)
	}
	_ = w.Flush()
	fmt.Println(b.String())
}

// writesIn counts the acknowledgements in a stretch of time, and returns the
// longest time without one that began in it.
func (s *soak) writesIn(from, to time.Time) (n int, longest time.Duration) {
	last := from
	for _, at := range s.writes {
		if at.Before(from) {
			continue
		}
		longest = max(longest, at.Sub(last))
		if last = at; at.After(to) {
			return n, longest
		}
		n++
	}
	return n, longest
}
