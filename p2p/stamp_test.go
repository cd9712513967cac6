package p2p_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/p2p"
	"redflag/p2p/p2ptest"
)

// TestRestartHashesNothing counts what is read again when nothing has changed,
// on a machine that imported a payload and on one that fetched it.
func TestRestartHashesNothing(t *testing.T) {
	t.Parallel()
	w := p2ptest.NewWorld(t)
	want := content(t, 4<<20+77)
	torrent := p2ptest.MakeTorrent(t, want)
	seed := w.Join(node("node-1", "eu"), p2ptest.Options{})
	seed.Seed(t, torrent, want)
	m := w.Join(agent(1), p2ptest.Options{})
	_, err := m.Fetch(t.Context(), m.Spec(torrent), nil)
	require.NoError(t, err)

	for _, before := range []*p2ptest.Machine{seed, m} {
		require.NoError(t, before.Close())
		after := w.Join(before.Peer, p2ptest.Options{Dir: before.Dir})
		requirePayload(t, after, torrent, want)
		require.Zero(t, after.Checked(), "%s reads nothing to give it again", after.Peer.ID)
		require.NoError(t, after.SeedAll(after.Announce))
	}
	late := w.Join(agent(2), p2ptest.Options{})
	_, err = late.Fetch(t.Context(), late.Spec(torrent), nil)
	require.NoError(t, err)
	requirePayload(t, late, torrent, want)
}

func TestPayloadWithoutAFittingStampIsHashedAgain(t *testing.T) {
	t.Parallel()
	type files struct{ data, stamp string }
	cases := map[string]func(*testing.T, files){
		"touched": func(t *testing.T, f files) {
			t.Helper()
			require.NoError(t, os.Chtimes(f.data, time.Now(), time.Now().Add(-time.Hour)))
		},
		"killed before the stamp": func(t *testing.T, f files) { t.Helper(); require.NoError(t, os.Remove(f.stamp)) },
		"half a stamp":            func(t *testing.T, f files) { t.Helper(); require.NoError(t, os.Truncate(f.stamp, 40)) },
		"another's stamp": func(t *testing.T, f files) {
			t.Helper()
			b, err := os.ReadFile(f.stamp)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(f.stamp, bytes.Replace(b, []byte("inode "), []byte("inode 1"), 1), 0o600))
		},
	}
	if runtime.GOOS == "linux" {
		cases["replaced by a copy of the same age"] = func(t *testing.T, f files) {
			t.Helper()
			st, err := os.Stat(f.data)
			require.NoError(t, err)
			b, err := os.ReadFile(f.data)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(f.data+"2", b, 0o600))
			require.NoError(t, os.Chtimes(f.data+"2", st.ModTime(), st.ModTime()))
			require.NoError(t, os.Rename(f.data+"2", f.data))
		}
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := p2ptest.NewWorld(t)
			want := content(t, 3<<20+5)
			torrent := p2ptest.MakeTorrent(t, want)
			m := w.Join(node("node-1", "eu"), p2ptest.Options{})
			m.Seed(t, torrent, want)
			require.NoError(t, m.Close())
			dir := filepath.Join(m.Dir, torrent.InfoHash)
			change(t, files{filepath.Join(dir, "data"), filepath.Join(dir, "stamp")})

			again := w.Join(m.Peer, p2ptest.Options{Dir: m.Dir})
			require.NoError(t, again.SeedAll(again.Announce))
			require.Eventually(t, func() bool { return again.Has(torrent.InfoHash) }, patience, time.Millisecond)
			require.EqualValues(t, len(want), again.Checked())
			requirePayload(t, again, torrent, want)
			require.Eventually(t, func() bool {
				left, ok := w.Tracker.Left(torrent.InfoHash, m.Peer.ID)
				return ok && left == 0
			}, patience, time.Millisecond, "it is announced like the others")

			require.NoError(t, again.Close())
			third := w.Join(m.Peer, p2ptest.Options{Dir: m.Dir})
			requirePayload(t, third, torrent, want)
			require.Zero(t, third.Checked(), "once is enough")
		})
	}
}

// TestCorruptedPayloadIsNotGiven changes a byte on disk between two starts. Only
// the piece that has it is fetched again.
func TestCorruptedPayloadIsNotGiven(t *testing.T) {
	t.Parallel()
	w := p2ptest.NewWorld(t)
	want := content(t, 3<<20)
	torrent := p2ptest.MakeTorrent(t, want)
	m := w.Join(node("node-1", "eu"), p2ptest.Options{})
	m.Seed(t, torrent, want)
	require.NoError(t, m.Close())
	data := filepath.Join(m.Dir, torrent.InfoHash, "data")
	st, err := os.Stat(data)
	require.NoError(t, err)
	b := bytes.Clone(want)
	b[2<<20] ^= 1
	require.NoError(t, os.WriteFile(data, b, 0o600))
	old := st.ModTime()
	if runtime.GOOS != "linux" { // elsewhere the time is all that tells
		old = old.Add(time.Second)
	}
	require.NoError(t, os.Chtimes(data, old, old))

	w.Join(node("node-2", "eu"), p2ptest.Options{}).Seed(t, torrent, want)
	again := w.Join(m.Peer, p2ptest.Options{Dir: m.Dir})
	got, err := again.Fetch(t.Context(), again.Spec(torrent), nil)
	require.NoError(t, err)
	require.EqualValues(t, len(want), again.Checked())
	require.Equal(t, torrent.PieceLength, got.FromNodes, "one piece was bad")
	requirePayload(t, again, torrent, want)

	require.NoError(t, again.Close())
	third := w.Join(m.Peer, p2ptest.Options{Dir: m.Dir})
	requirePayload(t, third, torrent, want)
	require.Zero(t, third.Checked())
}

// TestImportAndRemoveEndACheck has a large payload checked while it is replaced
// or removed.
func TestImportAndRemoveEndACheck(t *testing.T) {
	t.Parallel()
	w := p2ptest.NewWorld(t)
	want := content(t, 32<<20)
	torrent := p2ptest.MakeTorrent(t, want)
	m := w.Join(node("node-1", "eu"), p2ptest.Options{})
	m.Seed(t, torrent, want)
	for _, remove := range []bool{false, true} {
		require.NoError(t, m.Close())
		require.NoError(t, os.Remove(filepath.Join(m.Dir, torrent.InfoHash, "stamp")))
		m = w.Join(m.Peer, p2ptest.Options{Dir: m.Dir})
		if remove {
			require.NoError(t, m.Remove(torrent.InfoHash))
			require.NoDirExists(t, filepath.Join(m.Dir, torrent.InfoHash))
			require.False(t, m.Has(torrent.InfoHash))
			continue
		}
		m.Seed(t, torrent, want)
		requirePayload(t, m, torrent, want)
	}
}

const crashDir = "REDFLAG_TEST_CRASH_DIR"

// crashing is the payload of a round.
func crashing(round int) []byte {
	b := make([]byte, 1<<20)
	_, _ = rand.NewChaCha8([32]byte{byte(round), byte(round >> 8)}).Read(b)
	return b
}

// TestKilledBetweenWriteAndStamp kills a process that completes one payload
// after the other, and looks at what the next one gives.
func TestKilledBetweenWriteAndStamp(t *testing.T) {
	if dir := os.Getenv(crashDir); dir != "" {
		fetchForEver(t, dir)
		return
	}
	t.Parallel()
	w := p2ptest.NewWorld(t)
	stamped, hashed := 0, 0
	for round := range 6 {
		dir := t.TempDir()
		child := exec.Command(os.Args[0], "-test.run=^TestKilledBetweenWriteAndStamp$")
		child.Env = append(os.Environ(), crashDir+"="+dir)
		out, err := child.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, child.Start())
		_, err = io.ReadFull(out, make([]byte, 2+round)) // so many payloads are complete
		require.NoError(t, err)
		time.Sleep(time.Duration(rand.IntN(30)) * time.Millisecond)
		require.NoError(t, child.Process.Kill())
		_ = child.Wait()

		m := w.Join(agent(1), p2ptest.Options{Dir: dir})
		stamped += len(m.Complete())
		for k := range 200 {
			want := crashing(k)
			torrent := p2ptest.MakeTorrent(t, want)
			if _, err := os.Stat(filepath.Join(dir, torrent.InfoHash)); err != nil {
				require.GreaterOrEqual(t, k, 2+round, "what was complete is still there")
				break
			}
			if !m.Has(torrent.InfoHash) { // the one that was under way: whatever is there, the rest comes
				hashed++
				seed := w.Join(node(fmt.Sprint("node-", round), "eu"), p2ptest.Options{})
				seed.Seed(t, torrent, want)
				_, err := m.Fetch(t.Context(), m.Spec(torrent), nil)
				require.NoError(t, err)
			}
			f, err := m.Open(torrent.InfoHash)
			require.NoError(t, err)
			got, err := io.ReadAll(f)
			require.NoError(t, err)
			require.NoError(t, f.Close())
			require.True(t, bytes.Equal(want, got), "payload %d", k)
		}
	}
	t.Logf("%d payloads believed, %d completed", stamped, hashed)
	require.Positive(t, stamped)
}

// fetchForEver completes payloads in dir, and prints a dot for each.
func fetchForEver(t *testing.T, dir string) {
	t.Helper()
	w := p2ptest.NewWorld(t)
	seed := w.Join(p2p.Peer{ID: "node-0", Region: "eu", Node: true}, p2ptest.Options{})
	m := w.Join(agent(1), p2ptest.Options{Dir: dir})
	for k := range 200 {
		want := crashing(k)
		torrent := p2ptest.MakeTorrent(t, want)
		seed.Seed(t, torrent, want)
		_, err := m.Fetch(t.Context(), m.Spec(torrent), nil)
		require.NoError(t, err)
		_, _ = os.Stdout.WriteString(".")
	}
}
