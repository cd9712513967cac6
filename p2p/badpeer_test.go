package p2p_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/p2p"
	"redflag/p2p/p2ptest"
)

const chunk = 16 << 10

// TestCorruption has one of eight peers flip a bit in every twentieth chunk.
func TestCorruption(t *testing.T) {
	t.Parallel()
	w := p2ptest.NewWorld(t)
	want := content(t, 12<<20)
	torrent := p2ptest.MakeTorrent(t, want)
	caps := p2ptest.Options{Upload: 60_000_000}
	w.Join(node("node-1", "eu"), caps).Seed(t, torrent, want)
	spoiled := slices.Clone(want)
	for at := 0; at < len(spoiled); at += chunk {
		if rand.IntN(20) == 0 {
			spoiled[at+rand.IntN(min(chunk, len(spoiled)-at))] ^= 1 << rand.IntN(8)
		}
	}
	w.Join(agent(8), caps).Seed(t, torrent, spoiled)

	var mu sync.Mutex
	banned := map[string]int{}
	caps.Banned = func(id string) {
		mu.Lock()
		defer mu.Unlock()
		banned[id]++
	}
	var honest []*p2ptest.Machine
	for i := range 7 {
		honest = append(honest, w.Join(agent(i+1), caps))
	}
	fetchAll(t, torrent, honest)
	var corrupt, wasted int64
	for _, m := range honest {
		requirePayload(t, m, torrent, want)
		stats, ok := m.Stats(torrent.InfoHash)
		require.True(t, ok)
		corrupt += stats.Corrupt
		wasted += stats.Wasted
	}
	require.Eventually(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return banned["agent-8"] > 0
	}, patience, 10*time.Millisecond)
	mu.Lock()
	defer mu.Unlock()
	require.Len(t, banned, 1, "only the liar: %v", banned)
	useful := float64(len(want) * len(honest))
	t.Logf("all complete; %d of %d agents ban the liar; in corrupt pieces %.1f %%, twice %.1f %% of the payload bytes",
		banned["agent-8"], len(honest), float64(corrupt)/useful*100, float64(wasted)/useful*100)
}

// TestPeerThatDeliversNothingIsDropped meets peers that claim to have all and
// take every request, and then say nothing, or a byte at a time.
func TestPeerThatDeliversNothingIsDropped(t *testing.T) {
	t.Parallel()
	w := p2ptest.NewWorld(t)
	want := content(t, 6<<20)
	torrent := p2ptest.MakeTorrent(t, want)
	go hang(w.Listen(agent(8), torrent.InfoHash), "agent-8", torrent.InfoHash, nil)
	trickle := append(binary.BigEndian.AppendUint32(nil, 9+chunk), 7)
	go hang(w.Listen(agent(9), torrent.InfoHash), "agent-9", torrent.InfoHash, append(trickle, make([]byte, 8+chunk)...))
	// It takes some seconds: the others must be asked meanwhile.
	w.Join(node("node-1", "eu"), p2ptest.Options{Upload: 20_000_000}).Seed(t, torrent, want)

	logs, logger := debugLog()
	m := w.Join(agent(1), p2ptest.Options{Logger: logger})
	m.SetPatience(time.Second)
	fetchAll(t, torrent, []*p2ptest.Machine{m})
	requirePayload(t, m, torrent, want)
	for _, id := range []string{"agent-8", "agent-9"} {
		require.Contains(t, logs.String(), "delivers nothing: info_hash="+torrent.InfoHash+" peer="+id)
	}
	require.NotContains(t, logs.String(), "peer=node-1")
	require.False(t, strings.Contains(logs.String(), "peer banned"))
}

// hang greets like a peer that has everything, and writes slow forever.
func hang(l net.Listener, id, infoHash string, slow []byte) {
	hash, _ := hex.DecodeString(infoHash)
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			if _, err := io.ReadFull(c, make([]byte, 68)); err != nil {
				return
			}
			self := p2p.ClientID(id)
			hello := append([]byte("\x13BitTorrent protocol"), 0, 0, 0, 0, 0, 0, 0, 4) // with the fast extension
			hello = slices.Concat(hello, hash, self[:])
			hello = append(hello, 0, 0, 0, 1, 14, 0, 0, 0, 1, 1) // have all, unchoke
			if _, err := c.Write(hello); err != nil {
				return
			}
			go func() {
				for b := range slices.Chunk(slow, 1) {
					if _, err := c.Write(bytes.Clone(b)); err != nil {
						return
					}
					time.Sleep(50 * time.Millisecond)
				}
			}()
			_, _ = io.Copy(io.Discard, c)
		}()
	}
}
