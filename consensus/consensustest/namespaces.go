//go:build unix

package consensustest

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Namespaces is one network namespace per node, all on one bridge. A second
// bridge, connected to nothing, takes those that are cut off.
type Namespaces struct {
	tb    testing.TB
	tag   string
	nodes int
}

// NewNamespaces makes the namespaces; they go with the test.
func NewNamespaces(tb testing.TB, nodes int) *Namespaces {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Skip("network namespaces need root: run the tests as root, as CI does")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		tb.Skip("network namespaces need the ip command of iproute2")
	}
	b := make([]byte, 2)
	_, _ = rand.Read(b)
	n := &Namespaces{tb: tb, tag: hex.EncodeToString(b), nodes: nodes}
	tb.Cleanup(n.remove)
	for _, bridge := range []string{n.bridge(0), n.bridge(1)} {
		n.must("link", "add", bridge, "type", "bridge")
		n.must("link", "set", bridge, "up")
	}
	for i := range nodes {
		n.must("netns", "add", n.namespace(i))
		n.must("link", "add", n.port(i), "type", "veth", "peer", "name", "eth0", "netns", n.namespace(i))
		n.must("link", "set", n.port(i), "master", n.bridge(0), "up")
		n.must("-n", n.namespace(i), "addr", "add", n.Host(i)+"/24", "dev", "eth0")
		n.must("-n", n.namespace(i), "link", "set", "eth0", "up")
		n.must("-n", n.namespace(i), "link", "set", "lo", "up")
	}
	return n
}

func (n *Namespaces) bridge(side int) string { return fmt.Sprintf("rfb%s%d", n.tag, side) }
func (n *Namespaces) port(i int) string      { return fmt.Sprintf("rfp%s%d", n.tag, i) }
func (n *Namespaces) namespace(i int) string { return fmt.Sprintf("rfn%s%d", n.tag, i) }

// Host returns the address of a node.
func (n *Namespaces) Host(i int) string { return fmt.Sprintf("10.93.7.%d", i+1) }

// Enter returns the command that runs another one in a node's namespace.
func (n *Namespaces) Enter(i int) []string { return []string{"ip", "netns", "exec", n.namespace(i)} }

// Split puts the nodes of group on the second bridge and all others on the
// first.
func (n *Namespaces) Split(group []int) {
	away := map[int]bool{}
	for _, i := range group {
		away[i] = true
	}
	for i := range n.nodes {
		side := 0
		if away[i] {
			side = 1
		}
		n.must("link", "set", n.port(i), "master", n.bridge(side))
	}
}

func (n *Namespaces) must(args ...string) {
	n.tb.Helper()
	out, err := exec.Command("ip", args...).CombinedOutput() //nolint:noctx // it is quick
	require.NoError(n.tb, err, "ip %s: %s", strings.Join(args, " "), out)
}

func (n *Namespaces) remove() {
	for i := range n.nodes {
		_ = exec.Command("ip", "link", "del", n.port(i)).Run()       //nolint:noctx // it is quick
		_ = exec.Command("ip", "netns", "del", n.namespace(i)).Run() //nolint:noctx // it is quick
	}
	for side := range 2 {
		_ = exec.Command("ip", "link", "del", n.bridge(side)).Run() //nolint:noctx // it is quick
	}
}
