package node

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"redflag/api"
	"redflag/consensus/state"
)

// defaultUpdatesSpan is how far back update metrics go when nobody says.
const defaultUpdatesSpan = 24 * time.Hour

// updateMetrics answers what the cluster itself has counted.
func (n *Node) updateMetrics(r *http.Request) (any, error) {
	m, err := updatesQuery(r)
	if err != nil {
		return nil, err
	}
	names := map[string]*api.UpdateSeries{}
	for _, step := range n.state().Updates(time.Duration(m.Step), m.From, m.To) {
		timed := map[string]*tally{}
		for _, sum := range step.Sums {
			name := nameOf(m.By, sum)
			t := timed[name]
			if t == nil {
				t = &tally{point: api.UpdatePoint{At: step.At, Counts: map[api.State]int64{}}}
				timed[name] = t
			}
			t.add(sum)
		}
		for name, t := range timed {
			if names[name] == nil {
				names[name] = &api.UpdateSeries{Name: name}
			}
			names[name].Points = append(names[name].Points, t.mean())
		}
	}
	m.Series = []api.UpdateSeries{}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		m.Series = append(m.Series, *names[name])
	}
	return m, nil
}

func updatesQuery(r *http.Request) (m api.UpdateMetrics, err error) {
	v := r.URL.Query()
	now := time.Now().UTC()
	m.From, m.To, m.By = now.Add(-defaultUpdatesSpan), now, api.UpdateBy(v.Get("by"))
	for name, into := range map[string]*time.Time{"from": &m.From, "to": &m.To} {
		if s := v.Get(name); s != "" {
			if *into, err = moment(s); err != nil {
				return m, err
			}
		}
	}
	switch m.By {
	case api.UpdateByAll, api.UpdateByArtifact, api.UpdateByRegion, api.UpdateByResult, api.UpdateByClass:
	default:
		return m, api.Errorf(api.CodeInvalid, "updates are not counted by %.40q", string(m.By)).WithHint("use artifact, region, result or class")
	}
	step, err := time.ParseDuration(cmp.Or(v.Get("step"), "1h"))
	if err != nil || (step != api.UpdatesShortStep && step != api.UpdatesLongStep) {
		return m, api.Errorf(api.CodeInvalid, "updates are not counted in steps of %.40q", v.Get("step")).
			WithHint("use %s or %s", api.UpdatesShortStep, api.UpdatesLongStep)
	}
	m.Step = api.Duration(step)
	if !m.From.Before(m.To) {
		return m, api.Errorf(api.CodeInvalid, "from is not before to").WithHint("write from=24h, or two times")
	}
	return m, nil
}

// tally gathers the sums of one name within one step.
type tally struct {
	point         api.UpdatePoint
	timed, millis int64
}

func (t *tally) add(s state.UpdateSum) {
	t.point.Counts[s.State] += s.Commands
	t.timed += s.Timed
	t.millis += s.Millis
	t.point.FromPeers += s.FromPeers
	t.point.FromNodes += s.FromNodes
	t.point.FromOtherRegions += s.FromOtherRegions
}

func (t *tally) mean() api.UpdatePoint {
	if t.timed > 0 {
		t.point.MeanSeconds = float64(t.millis) / float64(t.timed) / 1000
	}
	return t.point
}

func nameOf(by api.UpdateBy, s state.UpdateSum) string {
	switch by {
	case api.UpdateByArtifact:
		return cmp.Or(strings.TrimSpace(s.Artifact+" "+s.Version), string(s.Kind))
	case api.UpdateByRegion:
		return s.Region
	case api.UpdateByResult:
		return string(s.State)
	case api.UpdateByClass:
		return cmp.Or(string(s.Class), "none")
	default:
		return "all"
	}
}
