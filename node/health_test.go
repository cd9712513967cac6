package node

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"redflag/api"
	"redflag/consensus/state"
)

// check returns what one check of a node says now.
func (r *running) check(name string) api.Check {
	r.t.Helper()
	for _, c := range r.node.health().Checks {
		if c.Name == name {
			return c
		}
	}
	return api.Check{}
}

func (r *running) becomes(name string, want api.Status) api.Check {
	r.t.Helper()
	var c api.Check
	if !eventually(func() bool { c = r.check(name); return c.Status == want }) {
		require.Failf(r.t, "the check does not change", "%s of %s is %s (%s), not %s", name, r.node.cfg.ID, c.Status, c.Detail, want)
	}
	if want == api.StatusOK {
		require.Empty(r.t, c.Advice)
	} else {
		require.NotEmpty(r.t, c.Advice, "it must say what to do")
	}
	require.NotZero(r.t, c.Since)
	return c
}

func eventually(ok func() bool) bool {
	for end := time.Now().Add(40 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return true
		}
	}
	return false
}

func (r *running) set(values map[api.SettingKey]string) {
	r.t.Helper()
	_, err := r.patch(api.SettingsChange{Values: values})
	require.NoError(r.t, err)
}

// lockedLog is a log that a test reads while it is written.
type lockedLog struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// skewedClock is a clock that a test puts forward and back.
type skewedClock struct{ by atomic.Int64 }

func (c *skewedClock) now() time.Time { return time.Now().Add(time.Duration(c.by.Load())) }

// The names and the switches are the API's.
func TestHealthChecksAreTheDocumentedOnes(t *testing.T) {
	r := start(t)
	var names []string
	for _, c := range r.node.health().Checks {
		names = append(names, c.Name)
	}
	require.Equal(t, api.HealthChecks, names)
	r.set(map[api.SettingKey]string{api.HealthSwitch("queue"): "false"})
	require.True(t, eventually(func() bool { return r.check("queue").Name == "" }), "a check can be switched off")
	r.becomes("raft", api.StatusOK)
	require.Equal(t, api.StatusOK, r.node.health().Status)
}

// Certificates expire when the clock passes their end.
func TestHealthSeesAnExpiredCertificate(t *testing.T) {
	clock := &skewedClock{}
	r := startWith(t, func(c *Config) { c.Clock = clock.now })
	r.becomes("certificates", api.StatusOK)
	clock.by.Store(int64(certificateLife(api.Settings{}) - 24*time.Hour))
	c := r.becomes("certificates", api.StatusWarn)
	require.Contains(t, c.Detail, "this node's certificate expires in")
	clock.by.Store(int64(certificateLife(api.Settings{}) + time.Hour))
	c = r.becomes("certificates", api.StatusCritical)
	require.Contains(t, c.Detail, "this node's certificate expired")
	require.NoError(t, r.operator.Do(t.Context(), http.MethodGet, "/v1/health", nil, nil), "the load balancer need not know")
	clock.by.Store(0)
	r.becomes("certificates", api.StatusOK)
}

// Alarms come 30, 7 and 1 day before the CA ends: in health, and once each in
// the log.
func TestExpiryAlarms(t *testing.T) {
	clock := &skewedClock{}
	var logs lockedLog
	r := startWith(t, func(c *Config) {
		c.Clock = clock.now
		c.Logger = hclog.New(&hclog.LoggerOptions{Output: &logs, JSONFormat: true})
	})
	r.becomes("certificates", api.StatusOK)
	health := r.node.health()
	require.Equal(t, "the cluster's CA", health.Expiries[0].What)
	end := health.Expiries[0].At
	for _, step := range []struct {
		before time.Duration
		logged int
	}{{31 * day, 0}, {29 * day, 1}, {8 * day, 1}, {6 * day, 2}, {day / 2, 3}, {-day, 3}} {
		clock.by.Store(int64(time.Until(end) - step.before))
		f := checkCertificates(r.node, r.node.view())
		if step.before < 30*day {
			require.Contains(t, f.detail, "the cluster's CA expire")
		}
		require.Equal(t, step.logged, strings.Count(logs.String(), `"expires soon"`), "%s before", step.before)
	}
	require.Contains(t, logs.String(), `"days":7`)
	require.Contains(t, logs.String(), `"next":"redflag ca rotate"`)
}

// The last admin's token ends while nobody can make another any more.
func TestExpiryOfTheLastAdmin(t *testing.T) {
	clock := &skewedClock{}
	r := startWith(t, func(c *Config) { c.Clock = clock.now })
	admin := func(id string, ttl time.Duration) *api.Client {
		t.Helper()
		var made api.CreateOperatorResponse
		r.do("/v1/operators", api.CreateOperatorRequest{ID: id, Role: api.OperatorAdmin, TTL: api.Duration(ttl)}, &made)
		return &api.Client{Servers: r.operator.Servers, Bearer: made.Token, HTTP: http.DefaultClient}
	}
	admin("ada", 10*day)
	otto := admin("otto", 60*day+time.Hour)
	require.NotContains(t, checkCertificates(r.node, r.node.view()).detail, "admin")
	require.NoError(t, otto.Do(t.Context(), http.MethodDelete, "/v1/operators/"+api.Founder, nil, nil))
	require.NotContains(t, checkCertificates(r.node, r.node.view()).detail, "admin", "it has just begun")
	clock.by.Store(int64(40*day + 2*time.Hour))
	f := checkCertificates(r.node, r.node.view())
	require.Contains(t, f.detail, "the last admin's token (otto) expires in 19 days")
}

// Full disk, by the threshold that the settings give and by a write that fails.
func TestHealthSeesDiskTrouble(t *testing.T) {
	r := start(t)
	r.becomes("disk", api.StatusOK)
	r.set(map[api.SettingKey]string{api.SettingHealthDiskFree: "1TiB"})
	before := r.becomes("disk", api.StatusCritical)
	resp, err := http.Get(r.operator.Servers[0] + "/v1/health")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	require.Equal(t, before.Since, r.check("disk").Since, "since when does not move while the status stays")
	r.set(map[api.SettingKey]string{api.SettingHealthDiskFree: ""})
	r.becomes("disk", api.StatusOK)

	r.set(map[api.SettingKey]string{api.SettingHealthFsync: "1ms"})
	r.node.monitor.mu.Lock()
	r.node.monitor.fsync = time.Second // what the probe measured on a slow disk
	r.node.monitor.mu.Unlock()
	require.Equal(t, api.StatusWarn, checkDisk(r.node, r.node.view()).status)

	probe := r.node.path("health.probe")
	require.NoError(t, os.RemoveAll(probe))
	require.NoError(t, os.MkdirAll(filepath.Join(probe, "x"), 0o700)) // the write cannot be put in place
	r.becomes("disk", api.StatusCritical)
	require.NoError(t, os.RemoveAll(probe))
	r.set(map[api.SettingKey]string{api.SettingHealthFsync: ""})
	r.becomes("disk", api.StatusOK)
}

// Three nodes, of which one goes, has a wrong clock, another version and
// another configuration.
func TestHealthSeesTheOthers(t *testing.T) {
	if testing.Short() {
		t.Skip("three nodes need time to elect and to find out who is silent")
	}
	n1 := start(t)
	clock := &skewedClock{}
	n2 := n1.join("n2", func(c *Config) { c.Clock, c.RaftTimeout = clock.now, 300*time.Millisecond })
	n3 := n1.join("n3", func(c *Config) { c.Version = "v2" })

	for _, n := range []*running{n1, n2, n3} {
		n.becomes("clock", api.StatusOK)
		require.Contains(t, n.becomes("version", api.StatusWarn).Detail, "v2 on n3")
	}
	require.Contains(t, n1.becomes("config", api.StatusWarn).Detail, "n2 with 300ms")
	clock.by.Store(int64(3 * time.Second))
	n2.becomes("clock", api.StatusWarn)
	require.Equal(t, api.StatusOK, n1.check("clock").Status, "who is right is not blamed")
	clock.by.Store(0)
	n2.becomes("clock", api.StatusOK)

	n1.set(map[api.SettingKey]string{api.SettingClusterRaftTimeout: "200ms"})
	require.Contains(t, n2.becomes("config", api.StatusCritical).Detail, "the cluster wants 200ms")
	n2.stop()
	require.Contains(t, n1.becomes("gossip", api.StatusWarn).Detail, "n2")
	require.Contains(t, n1.becomes("raft", api.StatusWarn).Detail, "2 of 3 voters")

	// It refuses to vote from what it remembers and from what it hears, and
	// comes back once it is mended.
	refused, err := New(n2.node.cfg)
	require.NoError(t, err)
	err = refused.Run(t.Context())
	require.ErrorContains(t, err, "does not vote with --raft-timeout 300ms")
	require.Equal(t, api.StatusCritical, worst(ValidateConfig(t.Context(), n2.node.cfg)))
	mended := n2.node.cfg
	mended.RaftTimeout = 200 * time.Millisecond
	require.NotEqual(t, api.StatusCritical, worst(ValidateConfig(t.Context(), mended)))
	n3.stop()
	require.Contains(t, n1.becomes("raft", api.StatusCritical).Detail, "no leader")
	require.False(t, n1.node.health().Serving)

	// Both come back, the one upgraded.
	upgraded := n3.node.cfg
	upgraded.Version, upgraded.MeshListen = n1.node.cfg.Version, n3.mesh
	mended.MeshListen = n2.mesh // nobody could be told of another address: there is no leader
	run(t, mended)
	n3 = run(t, upgraded)
	n3.operator = &api.Client{Servers: []string{n3.api}, Bearer: n1.operator.Bearer, HTTP: http.DefaultClient}
	for _, name := range []string{"raft", "gossip", "config", "version"} {
		n1.becomes(name, api.StatusOK)
	}
	require.True(t, n1.node.health().Serving)

	var all []api.Health
	require.NoError(t, n3.operator.Do(t.Context(), http.MethodGet, "/v1/cluster/health", nil, &all))
	require.Len(t, all, 3)
}

func worst(checks []api.Check) api.Status {
	s := api.StatusOK
	for _, c := range checks {
		s = s.Worse(c.Status)
	}
	return s
}

// A joining node with another configuration is told before it has a vote.
func TestAContradictingNodeDoesNotJoin(t *testing.T) {
	r := start(t)
	r.set(map[api.SettingKey]string{api.SettingClusterRaftTimeout: "200ms"})
	resp := r.token(api.CreateTokenRequest{Kind: api.TokenNode, Seats: 1, TTL: api.Duration(time.Hour)})
	cfg := testConfig(t)
	cfg.ID, cfg.Join, cfg.RaftTimeout = "n2", []string{r.mesh}, time.Second
	cfg.JoinToken = registrationToken(resp)
	cfg.Logger = hclog.NewNullLogger()
	n, err := New(cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	require.ErrorContains(t, n.Run(ctx), "the cluster wants 200ms")
	require.Len(t, r.node.cluster.Status().Voters, 1)
}

// A rollout that fails, and one that nobody takes.
func TestHealthSeesTheQueue(t *testing.T) {
	clock := &skewedClock{}
	r := startWith(t, func(c *Config) { c.Clock = clock.now })
	_, err := r.enrol("a1", r.token(agentToken))
	require.NoError(t, err)
	r.becomes("queue", api.StatusOK)
	meta := state.Metadata{Version: 1, Bytes: []byte("{}")}
	_, err = r.node.propose(t.Context(), state.TypePublishArtifact, state.PublishArtifact{
		Artifact: api.Artifact{
			Name: "app", Version: "1", Length: 1, SHA256: strings.Repeat("a", 64),
			InfoHash: strings.Repeat("b", 40), PieceLength: 1 << 18, OriginNode: "gone",
		},
		Targets: meta, Snapshot: meta, Timestamp: meta,
	})
	require.NoError(t, err)
	req := api.CreateRolloutRequest{ID: "r1", Kind: api.KindRollback, Artifact: "app", Selector: api.Selector{All: true}}
	require.NoError(t, r.operator.Do(t.Context(), http.MethodPost, "/v1/rollouts", req, nil))
	r.becomes("queue", api.StatusOK)
	clock.by.Store(int64(25 * time.Hour))
	require.Contains(t, r.becomes("queue", api.StatusWarn).Detail, "r1")
	require.NoError(t, r.operator.Do(t.Context(), http.MethodPost, "/v1/rollouts/r1/cancel", nil, nil))
	r.becomes("queue", api.StatusOK)
}

// The file of a delegated role has the alarms of targets, until the role is taken
// away.
func TestExpiryOfDelegatedRole(t *testing.T) {
	r := start(t)
	put := func(version int64, ends time.Duration, change func(*metadata.TargetsType)) state.Metadata {
		t.Helper()
		m := metadata.Targets(time.Now().Add(ends).UTC())
		m.Signed.Version = version
		change(&m.Signed)
		b, err := m.ToBytes(false)
		require.NoError(t, err)
		return state.Metadata{Version: version, Bytes: b}
	}
	propose := func(e state.PutTrust) {
		t.Helper()
		_, err := r.node.propose(t.Context(), state.TypePutTrust, e)
		require.NoError(t, err)
	}
	delegating := put(1, 90*day, func(s *metadata.TargetsType) {
		s.Delegations = &metadata.Delegations{Keys: map[string]*metadata.Key{}, Roles: []metadata.DelegatedRole{{Name: "app", Threshold: 1, Terminating: true, Paths: []string{"app/*"}}}}
	})
	propose(state.PutTrust{Targets: &delegating, Roles: map[string]state.Metadata{"app": put(1, 20*day, func(*metadata.TargetsType) {})}})
	f := checkCertificates(r.node, r.node.view())
	require.Contains(t, f.detail, "the signed app metadata expires in 19 days")
	require.Equal(t, "publish anything of it, or: redflag keys renew app", f.advice)
	none := put(2, 90*day, func(*metadata.TargetsType) {})
	propose(state.PutTrust{Targets: &none})
	require.NotContains(t, checkCertificates(r.node, r.node.view()).detail, "app metadata")
	b, ok := r.node.state().TrustFile("1.app.json")
	require.True(t, ok, "a snapshot goes on naming it")
	require.NotEmpty(t, b)
}
