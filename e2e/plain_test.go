package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/api"
)

// btClient is a BitTorrent client that is not ours.
type btClient struct {
	name, debian string
	// args makes it fetch torrent into dir by its tracker alone.
	args func(t *testing.T, dir, torrent string) []string
}

var btClients = []btClient{
	{"aria2c", "aria2", func(_ *testing.T, dir, torrent string) []string {
		return []string{
			"--no-conf", "--dir=" + dir, "--enable-dht=false", "--enable-dht6=false", "--bt-enable-lpd=false",
			"--enable-peer-exchange=false", "--seed-time=0", "--file-allocation=none", "--summary-interval=0", torrent,
		}
	}},
	{"transmission-cli", "transmission-cli", func(t *testing.T, dir, torrent string) []string {
		t.Helper()
		conf := filepath.Join(dir, "conf")
		require.NoError(t, os.Mkdir(conf, 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(conf, "settings.json"), []byte(
			`{"dht-enabled":false,"lpd-enabled":false,"pex-enabled":false,"utp-enabled":false,"port-forwarding-enabled":false}`), 0o600))
		return []string{"--config-dir=" + conf, "--download-dir=" + dir, "--no-portmap", "--port=" + strconv.Itoa(freePort(t)), torrent}
	}},
}

// ownAddress returns an address of this machine that is none of the loopback,
// at which Transmission dials nobody.
func ownAddress(t *testing.T) string {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	require.NoError(t, err)
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() && n.IP.To4() != nil {
			return n.IP.String()
		}
	}
	t.Skip("this machine has no address but loopback: BitTorrent clients dial none there")
	return ""
}

func freePort(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

// fetching runs a client until stop, and returns the file that it fetches into.
func (c btClient) fetching(t *testing.T, torrent string) (file string, stop func()) {
	t.Helper()
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	cmd := exec.CommandContext(ctx, c.name, c.args(t, dir, torrent)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	require.NoError(t, cmd.Start())
	var once atomic.Bool
	stop = func() {
		if once.CompareAndSwap(false, true) {
			cancel()
			_ = cmd.Wait()
			if t.Failed() {
				said := out.String()
				t.Logf("%s said:\n%s", c.name, said[max(0, len(said)-4000):])
			}
		}
	}
	t.Cleanup(stop)
	return filepath.Join(dir, "payload"), stop
}

// Standard clients fetch from a node in plain mode, found by its tracker, under
// its cap, and every byte is right. At the mesh port they get nothing.
func TestStandardBitTorrentClients(t *testing.T) {
	t.Parallel()
	const limit = api.Rate(16_000_000)
	m := newMesh(t)
	here := ownAddress(t)
	n1 := m.foundBy(m.node("n1", "eu", "--mesh-listen", here+":0", "--plain-listen", here+":0", "--debug"))
	payload := make([]byte, 3<<20+12345)
	_, _ = rand.Read(payload)
	m.publish("1.0.0", payload)
	torrent := m.path("app.torrent")
	_, refusal, err := m.try("artifacts", "torrent", "app", "--out", torrent)
	require.Error(t, err)
	require.Contains(t, refusal, "redflag settings set swarm.plain=true")

	mesh, err := netip.ParseAddrPort(n1.runtime.Mesh)
	require.NoError(t, err)
	var asked atomic.Int64
	tracker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		peer := binary.BigEndian.AppendUint16(mesh.Addr().AsSlice(), mesh.Port())
		_, _ = fmt.Fprintf(w, "d8:intervali60e5:peers%d:%se", len(peer), peer)
	}))
	defer tracker.Close()
	misled := m.path("misled.torrent")
	m.run("artifacts", "torrent", "app@1.0.0", "--out", misled, "--tracker", tracker.URL+"/announce")

	m.run("settings", "set", "swarm.plain=true", "node.upload_limit="+limit.String())
	m.eventually("the node is in plain mode", func() bool {
		_, _, err := m.try("artifacts", "torrent", "app@1.0.0", "--out", torrent)
		return err == nil
	})
	for _, c := range btClients {
		t.Run(c.name, func(t *testing.T) {
			if _, err := exec.LookPath(c.name); err != nil {
				t.Skipf("%s is not here: apt-get install %s", c.name, c.debian)
			}
			began := time.Now()
			file, stop := c.fetching(t, torrent)
			require.Eventually(t, func() bool {
				got, err := os.ReadFile(file)
				return err == nil && bytes.Equal(payload, got)
			}, patience, 50*time.Millisecond)
			least := float64(len(payload)) / limit.BytesPerSecond()
			require.Greater(t, time.Since(began).Seconds(), 0.9*least, "the node's cap holds for plain clients")
			stop()

			before, tries := asked.Load(), strings.Count(m.log("n1"), "mesh handshake refused")
			file, stop = c.fetching(t, misled)
			require.Eventually(t, func() bool {
				return asked.Load() > before && strings.Count(m.log("n1"), "mesh handshake refused") > tries
			}, patience, 50*time.Millisecond, "it finds the mesh port by the tracker and is refused there")
			stop()
			require.Zero(t, bytesIn(t, file), "not a byte came through the mesh port")
		})
	}
}

// bytesIn counts what is not a hole in a file, or in its part while it is fetched.
func bytesIn(t *testing.T, file string) (n int) {
	t.Helper()
	for _, name := range []string{file, file + ".part"} {
		f, err := os.Open(name)
		if os.IsNotExist(err) {
			continue
		}
		require.NoError(t, err)
		defer f.Close()
		b, err := io.ReadAll(f)
		require.NoError(t, err)
		n += len(b) - bytes.Count(b, []byte{0})
	}
	return n
}
