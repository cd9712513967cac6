package p2p_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
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

// TestMessagesThatStopTheLibrary meets peers each of which sends a message that
// the library would panic on, or answer for ever.
func TestMessagesThatStopTheLibrary(t *testing.T) {
	t.Parallel()
	w := p2ptest.NewWorld(t)
	want := content(t, 2<<20)
	torrent := p2ptest.MakeTorrent(t, want)
	message := func(body ...byte) []byte {
		return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
	}
	info := func(dict string) []byte { return message(append([]byte{20, 1}, dict...)...) }
	lengthOf := make([]byte, 49) // of hashes (BEP 52): a root, four numbers, no hash
	bad := map[string][]byte{
		"a block past its piece":      message(slices.Concat([]byte{7, 0, 0, 0, 0}, binary.BigEndian.AppendUint32(nil, uint32(torrent.PieceLength)-chunk+1), make([]byte, chunk))...),
		"info data that nobody wants": info("d8:msg_typei1e5:piecei-1e10:total_sizei9ee"),
		"info request below":          info("d8:msg_typei0e5:piecei-1ee"),
		"info request beyond":         info("d8:msg_typei0e5:piecei9999999ee"),
		"a request of no block":       message(6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1),
		"hash request":                message(append([]byte{21}, lengthOf[1:]...)...),
		"hashes":                      message(append([]byte{22}, lengthOf[1:]...)...),
		"all, then none":              slices.Concat(message(15), message(4, 0, 0, 0, 0)),
		"info requests without end":   bytes.Repeat(info("d8:msg_typei0e5:piecei0ee"), 100),
		"handshakes without end":      bytes.Repeat(message(append([]byte{20, 0}, "d1:md6:foobari9eee"...)...), 100),
	}
	ended := make(chan string, 1000)
	i := 10
	for name, bytes := range bad {
		i++
		go blurt(w.Listen(agent(i), torrent.InfoHash), "agent-"+strconv.Itoa(i), torrent.InfoHash, bytes, func() { ended <- name })
	}
	m := w.Join(agent(1), p2ptest.Options{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		fetchAll(t, torrent, []*p2ptest.Machine{m})
	}()
	for left := len(bad); left > 0; { // each of them, while there is nobody else
		select {
		case name := <-ended:
			if _, ok := bad[name]; ok {
				delete(bad, name)
				left--
			}
		case <-time.After(patience):
			require.Empty(t, bad, "connections that are still open")
		}
	}
	w.Join(node("node-1", "eu"), p2ptest.Options{}).Seed(t, torrent, want)
	<-done
	requirePayload(t, m, torrent, want)
}

// TestPeerThatReadsNothing has a peer ask for a block and think better of it, again
// and again: the refusals that it does not read must not pile up.
func TestPeerThatReadsNothing(t *testing.T) {
	t.Parallel()
	w := p2ptest.NewWorld(t)
	want := content(t, 1<<20)
	torrent := p2ptest.MakeTorrent(t, want)
	seed := w.Join(node("node-1", "eu"), p2ptest.Options{})
	seed.Seed(t, torrent, want)

	c := w.Dial(agent(8), seed)
	hash, _ := hex.DecodeString(torrent.InfoHash)
	self := p2p.ClientID("agent-8")
	hello := slices.Concat([]byte("\x13BitTorrent protocol"), []byte{7: 4}, hash, self[:], // with the fast extension
		[]byte{0, 0, 0, 1, 15, 0, 0, 0, 1, 2}) // have none, interested
	_, err := c.Write(hello)
	require.NoError(t, err)
	block := binary.BigEndian.AppendUint32(make([]byte, 8), chunk)
	ask := slices.Concat([]byte{0, 0, 0, 13, 6}, block, []byte{0, 0, 0, 13, 8}, block)
	const times = 1 << 20
	asked := 0
	for err == nil && asked < times {
		_, err = c.Write(bytes.Repeat(ask, 100))
		asked += 100
	}
	require.Error(t, err, "the seed has parted from it")
	require.Greater(t, asked, 1<<14, "it may ask that often: %v", err)
}

// greeting meets whoever dials l as a peer that has everything would, and goes on
// with what follows. The reserved byte says which extensions it has (BEP 10).
func greeting(l net.Listener, id, infoHash string, reserved byte, follow func(c net.Conn, hello []byte)) {
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
			hello := append([]byte("\x13BitTorrent protocol"), 0, 0, 0, 0, 0, reserved, 0, 4) // with the fast extension
			hello = slices.Concat(hello, hash, self[:])
			follow(c, append(hello, 0, 0, 0, 1, 14)) // have all
		}()
	}
}

// blurt sends one thing, and tells when the other side has closed the connection.
func blurt(l net.Listener, id, infoHash string, what []byte, ended func()) {
	greeting(l, id, infoHash, 16, func(c net.Conn, hello []byte) {
		if _, err := c.Write(append(hello, what...)); err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, c)
		ended()
	})
}

// hang lets the other side ask, and writes slow forever.
func hang(l net.Listener, id, infoHash string, slow []byte) {
	greeting(l, id, infoHash, 0, func(c net.Conn, hello []byte) {
		if _, err := c.Write(append(hello, 0, 0, 0, 1, 1)); err != nil { // unchoke
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
	})
}
