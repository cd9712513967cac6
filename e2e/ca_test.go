package e2e

import (
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

type caStatus struct {
	Stage       string                `json:"stage"`
	Authorities []struct{ ID string } `json:"authorities"`
	Waiting     []string              `json:"waiting"`
}

// issuer returns the authority that signed a member's certificate.
func (m *mesh) issuer(id string) string {
	m.t.Helper()
	b, err := os.ReadFile(m.path(id, "identity", "cert.pem"))
	require.NoError(m.t, err)
	block, _ := pem.Decode(b)
	require.NotNil(m.t, block)
	cert, err := x509.ParseCertificate(block.Bytes)
	require.NoError(m.t, err)
	return hex.EncodeToString(cert.AuthorityKeyId)
}

// refusal is how a poll fails for want of trust, and not because a machine that
// runs many tests is late.
var refusal = regexp.MustCompile(`(?i)certificate|x509|tls|enrolled|put out|denied|unauthenticated`)

// refusedInARow returns the longest run of polls of an agent that were refused
// everywhere, from the moment at which its log had skip bytes.
func (m *mesh) refusedInARow(id string, skip int) (longest int) {
	m.t.Helper()
	run := 0
	for line := range strings.Lines(m.log(id)[skip:]) {
		switch {
		case strings.Contains(line, `"poll answered"`):
			run = 0
		case strings.Contains(line, `"poll failed"`) && refusal.MatchString(line):
			run++
			longest = max(longest, run)
		}
	}
	return longest
}

// TestCARollsOverUnderARollout: three nodes and six agents get a new CA and new
// certificates of their own while a payload comes in over capped links. Every
// command succeeds, and no agent misses two polls in a row.
func TestCARollsOverUnderARollout(t *testing.T) {
	if testing.Short() {
		t.Skip("three nodes and six agents need half a minute")
	}
	t.Parallel()
	m := newMesh(t)
	procs := m.cluster()
	m.run("settings", "set", "trust.certificate_life=2m", "agent.download_limit=2mbit")
	members := []string{"n1", "n2", "n3"}
	for i := range 6 {
		id := fmt.Sprint("a", i+1)
		node := members[i%3]
		m.agent(id, []string{"eu", "us", "ap"}[i%3], procs[node], "--debug")
		members = append(members, id)
	}
	m.eventually("six agents poll", func() bool { return strings.Count(m.run("agents"), " idle ") == 6 })
	var ca caStatus
	m.runJSON(&ca, "ca", "status")
	old := ca.Authorities[0].ID
	for _, id := range members {
		require.Equal(t, old, m.issuer(id), id)
	}

	m.publish("1.0.0", payload(1, 2<<20))
	var r rollout
	m.runJSON(&r, "rollout", "create", "app", "--version", "1.0.0", "--to", "all")
	m.eventually("the rollout is under way", func() bool {
		m.runJSON(&r, "rollout", "show", r.ID)
		return r.Counts["running"] > 0
	})
	skip := map[string]int{}
	for _, id := range members[3:] {
		skip[id] = len(m.log(id))
	}
	m.run("ca", "rotate")
	stages := map[string]bool{}
	m.eventually("the CA has rolled over", func() bool {
		ca = caStatus{}
		m.runJSON(&ca, "ca", "status")
		stages[ca.Stage] = true
		return ca.Stage == ""
	})
	require.True(t, stages["spread"] || stages["reissue"], "it was seen on its way: %v", stages)
	m.eventually("the rollout ends", func() bool {
		m.runJSON(&r, "rollout", "show", r.ID)
		return r.State == "done"
	})
	require.Equal(t, 6, r.Counts["succeeded"], "no command is lost: %v", r.Counts)
	require.Len(t, ca.Authorities, 1)
	require.NotEqual(t, old, ca.Authorities[0].ID)
	for _, id := range members {
		require.Equal(t, ca.Authorities[0].ID, m.issuer(id), "%s has a certificate of the new CA", id)
	}
	for _, id := range members[3:] {
		require.LessOrEqual(t, m.refusedInARow(id, skip[id]), 1, "%s is refused for longer than a poll interval", id)
		require.Contains(t, m.log(id)[skip[id]:], `"poll answered"`)
	}
	require.Contains(t, m.run("audit", "--action", "/v1/ca/rotate"), "founder")
	// Who joins now pins the new one, and an agent that starts again finds its way.
	m.agent("a7", "eu", procs["n1"])
	m.eventually("a new agent polls", func() bool { return strings.Count(m.run("agents"), " idle ") == 7 })
	require.Equal(t, ca.Authorities[0].ID, m.issuer("a7"))
}
