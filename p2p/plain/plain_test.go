package plain

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/anacrolix/torrent/bencode"
	"github.com/anacrolix/torrent/metainfo"
	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"redflag/ratelimit"
)

const (
	known       = "00000000000000000000000000000000000000aa"
	pieceLength = 256 << 10
)

// memory is one payload.
type memory []byte

func (m memory) Has(infoHash string) bool { return infoHash == known }

func (m memory) Open(infoHash string) (Payload, error) {
	if infoHash != known {
		return Payload{}, errors.New("not here")
	}
	return Payload{Length: int64(len(m)), PieceLength: pieceLength, Data: struct {
		io.ReaderAt
		io.Closer
	}{bytes.NewReader(m), io.NopCloser(nil)}}, nil
}

// serve runs a server with a payload of so many bytes until the test ends.
func serve(t *testing.T, length int, upload *ratelimit.Bucket) (s *Server, addr string, content []byte) {
	t.Helper()
	content = make([]byte, length)
	_, _ = rand.Read(content)
	s = New(Config{Payloads: memory(content), Upload: upload, Logger: hclog.NewNullLogger()})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	return s, ln.Addr().String(), content
}

// leech is a peer that speaks the protocol by hand.
type leech struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func dial(t *testing.T, addr, infoHash string) *leech {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(30*time.Second)))
	hash, err := hex.DecodeString(infoHash)
	require.NoError(t, err)
	_, err = c.Write([]byte(greeting + "\x00\x00\x00\x00\x00\x00\x00\x00" + string(hash) + "-XX0001-abcdefghijkl"))
	require.NoError(t, err)
	return &leech{t, c, bufio.NewReader(c)}
}

func (l *leech) message() (kind byte, body []byte) {
	l.t.Helper()
	var size uint32
	require.NoError(l.t, binary.Read(l.r, binary.BigEndian, &size))
	b := make([]byte, size)
	_, err := io.ReadFull(l.r, b)
	require.NoError(l.t, err)
	return b[0], b[1:]
}

func (l *leech) send(kind byte, numbers ...uint32) {
	l.t.Helper()
	b := binary.BigEndian.AppendUint32(nil, uint32(1+4*len(numbers)))
	b = append(b, kind)
	for _, n := range numbers {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	_, err := l.Write(b)
	require.NoError(l.t, err)
}

func (l *leech) welcome() (bitfield []byte) {
	l.t.Helper()
	infoHash, err := readGreeting(l.r)
	require.NoError(l.t, err)
	require.Equal(l.t, known, infoHash)
	kind, field := l.message()
	require.EqualValues(l.t, kindBitfield, kind)
	kind, _ = l.message()
	require.EqualValues(l.t, kindUnchoke, kind)
	return field
}

func (l *leech) closed() {
	l.t.Helper()
	_, err := io.Copy(io.Discard, l.r)
	if ne := net.Error(nil); errors.As(err, &ne) {
		require.False(l.t, ne.Timeout(), "the connection stays open")
	}
}

func TestASeedGivesEveryByte(t *testing.T) {
	s, addr, content := serve(t, 3*pieceLength+12345, nil)
	l := dial(t, addr, known)
	require.Equal(t, []byte{0xf0}, l.welcome(), "four pieces, and no bit more")
	_, err := l.Write([]byte{0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 5, 4, 0, 0, 0, 0}) // keep-alive, interested, have
	require.NoError(t, err)
	got := make([]byte, len(content))
	for at := 0; at < len(content); {
		n := min(16<<10, len(content)-at)
		l.send(kindRequest, uint32(at/pieceLength), uint32(at%pieceLength), uint32(n))
		kind, b := l.message()
		require.EqualValues(t, kindPiece, kind)
		require.EqualValues(t, at/pieceLength, binary.BigEndian.Uint32(b))
		require.EqualValues(t, at%pieceLength, binary.BigEndian.Uint32(b[4:]))
		at += copy(got[at:], b[8:])
	}
	require.True(t, bytes.Equal(content, got))
	require.EqualValues(t, len(content), s.Stats().Sent)
	require.EqualValues(t, 1, s.Stats().Peers)
}

func TestWhatIsNoRequestEndsAConnection(t *testing.T) {
	_, addr, _ := serve(t, pieceLength+1, nil)
	for name, numbers := range map[string][]uint32{
		"beyond the piece":   {0, pieceLength - 1, 2},
		"beyond the payload": {1, 0, 2},
		"no such piece":      {2, 0, 1},
		"far away":           {1<<32 - 1, 1<<32 - 1, 1<<32 - 1},
		"nothing":            {0, 0, 0},
		"too much":           {0, 0, maxBlock + 1},
		"too short":          {0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			l := dial(t, addr, known)
			l.welcome()
			l.send(kindRequest, numbers...)
			l.closed()
		})
	}
	t.Run("a long message", func(t *testing.T) {
		l := dial(t, addr, known)
		l.welcome()
		_, err := l.Write([]byte{0, 1, 0, 0, 20})
		require.NoError(t, err)
		l.closed()
	})
	t.Run("another payload", func(t *testing.T) { dial(t, addr, strings.Repeat("0", 40)).closed() })
	t.Run("another protocol", func(t *testing.T) {
		c, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		defer c.Close()
		_, err = c.Write([]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")) // as TLS begins
		require.NoError(t, err)
		(&leech{t, c, bufio.NewReader(c)}).closed()
	})
}

func TestACancelIsReal(t *testing.T) {
	upload := ratelimit.NewBucket(2_000_000)
	_, addr, _ := serve(t, 4*pieceLength, upload)
	l := dial(t, addr, known)
	l.welcome()
	const block = 16 << 10
	for i := range uint32(16) {
		l.send(kindRequest, 0, i*block, block)
	}
	for i := uint32(15); i > 4; i-- { // 16 blocks take a second under the cap
		l.send(kindCancel, 0, i*block, block)
	}
	l.send(kindRequest, 1, 0, block)
	for got := 0; ; got++ {
		require.Less(t, got, 15, "what was cancelled comes")
		if _, b := l.message(); binary.BigEndian.Uint32(b) == 1 {
			break
		}
	}
	require.Positive(t, upload.Passed(), "the cap is charged")
}

// announce asks the tracker.
func announce(t *testing.T, addr, infoHash string, more ...string) (a struct {
	Failure    string `bencode:"failure reason"`
	Interval   int    `bencode:"interval"`
	Complete   int    `bencode:"complete"`
	Incomplete int    `bencode:"incomplete"`
	Peers      any    `bencode:"peers"`
	Peers6     string `bencode:"peers6"`
},
) {
	t.Helper()
	hash, err := hex.DecodeString(infoHash)
	require.NoError(t, err)
	q := url.Values{"info_hash": {string(hash)}, "peer_id": {"-XX0001-abcdefghijkl"}, "port": {"6881"}, "left": {"7"}, "compact": {"1"}}
	for i := 0; i < len(more); i += 2 {
		q.Set(more[i], more[i+1])
	}
	resp, err := http.Get("http://" + addr + "/announce?" + q.Encode())
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, bencode.Unmarshal(b, &a), "%q", b)
	return a
}

func compactOf(t *testing.T, addr string) string {
	t.Helper()
	at := netip.MustParseAddrPort(addr)
	return string(appendAddr(nil, at))
}

func TestTheTracker(t *testing.T) {
	s, addr, _ := serve(t, 1, nil)
	first := announce(t, addr, known)
	require.Equal(t, compactOf(t, addr), first.Peers, "the node is where it was reached")
	require.Equal(t, []int{1, 1}, []int{first.Complete, first.Incomplete})
	require.Equal(t, 120, first.Interval)

	second := announce(t, addr, known, "port", "6882", "ip", "192.0.2.9")
	require.Equal(t, compactOf(t, addr)+compactOf(t, "127.0.0.1:6881"), second.Peers)
	named := announce(t, addr, known, "compact", "0").Peers.([]any)
	require.Len(t, named, 2)
	require.Equal(t, map[string]any{"ip": "127.0.0.1", "peer id": "-XX0001-abcdefghijkl", "port": int64(6882)}, named[1])

	require.Equal(t, compactOf(t, addr), announce(t, addr, known, "port", "6882", "numwant", "0").Peers)
	done := announce(t, addr, known, "left", "0", "event", "completed")
	require.Equal(t, compactOf(t, "127.0.0.1:6882"), done.Peers, "who has it all needs no seed")
	require.Empty(t, announce(t, addr, known, "left", "0", "port", "6882").Peers, "two seeds have nothing to say")
	announce(t, addr, known, "event", "stopped")
	announce(t, addr, known, "event", "stopped", "port", "6882")
	announce(t, addr, known, "port", "0")
	require.Zero(t, s.Stats().Listed, "who went, and who cannot be reached")

	require.Contains(t, announce(t, addr, strings.Repeat("0", 40)).Failure, "not here")
	require.Contains(t, announce(t, addr, known, "port", "x").Failure, "port")
	require.Contains(t, announce(t, addr, known, "peer_id", "x").Failure, "peer_id")
	require.Zero(t, s.Stats().Listed, "refused announces leave no trace")
}

func TestTheTableHasBounds(t *testing.T) {
	var tb table
	now := time.Now()
	join := func(ip string, port int) {
		tb.announce(request{infoHash: known, left: 1, port: uint16(port)}, netip.AddrPortFrom(netip.MustParseAddr(ip), uint16(port)), now)
	}
	for i := range 2 * maxListedPerSource {
		join("192.0.2.1", 1000+i)
		join(fmt.Sprintf("2001:db8::%x", i+1), 1000)
	}
	require.Equal(t, 2*maxListedPerSource, tb.size(), "a /64 is one source")
	for i := range 2 * maxListed {
		join(fmt.Sprintf("10.0.%d.%d", i/256, i%256), 1)
	}
	require.Equal(t, maxListed, tb.size())
	now = now.Add(peerExpiry + time.Second)
	join("192.0.2.2", 1)
	require.Equal(t, 1, tb.size(), "the silent are forgotten")

	a := tb.announce(request{infoHash: known, left: 1, port: 1, numWant: usualPeers}, netip.MustParseAddrPort("[2001:db8::1]:1"), now)
	require.Len(t, a.peers, 1)
	six := tb.announce(request{infoHash: known, left: 1, port: 1, numWant: usualPeers}, netip.MustParseAddrPort("192.0.2.2:1"), now).encode(true)
	require.Contains(t, string(six), "5:peers0:6:peers618:", "BEP 7")
}

func TestTheGateHasBounds(t *testing.T) {
	var g gate
	now := time.Now()
	enter := func(ip string) bool { return g.enter(netip.MustParseAddr(ip), now) }
	for range maxConnsPerSource {
		require.True(t, enter("192.0.2.1"))
	}
	require.False(t, enter("192.0.2.1"))
	g.leave(netip.MustParseAddr("192.0.2.1"))
	require.True(t, enter("192.0.2.1"))
	for i := 0; g.open < maxConns; i++ {
		require.True(t, enter(fmt.Sprintf("10.0.0.%d", i)))
	}
	require.False(t, enter("192.0.2.3"))

	g = gate{}
	for range connsBurst {
		require.True(t, enter("2001:db8::1"))
		g.leave(netip.MustParseAddr("2001:db8::1"))
	}
	require.False(t, enter("2001:db8::2"), "a /64 is one source")
	now = now.Add(time.Second)
	require.True(t, enter("2001:db8::2"))
	for i := 0; len(g.by) < maxSources; i++ {
		enter(fmt.Sprintf("10.1.%d.%d", i/256, i%256))
	}
	require.False(t, enter("192.0.2.9"), "who is there stays")
}

func TestATorrentKeepsTheInfoDictionary(t *testing.T) {
	info := []byte("d6:lengthi1e4:name7:payload12:piece lengthi262144e6:pieces20:aaaaaaaaaaaaaaaaaaaa7:privatei1ee")
	mi, err := metainfo.Load(bytes.NewReader(Torrent(info, "http://192.0.2.1:7422/announce", time.Unix(5, 0))))
	require.NoError(t, err)
	require.Equal(t, info, []byte(mi.InfoBytes))
	require.Equal(t, "http://192.0.2.1:7422/announce", mi.Announce)
	require.EqualValues(t, 5, mi.CreationDate)
	require.Equal(t, "redflag", mi.CreatedBy)
}

func FuzzParseAnnounce(f *testing.F) {
	f.Add("info_hash=%00aaaaaaaaaaaaaaaaaaa&peer_id=-XX0001-abcdefghijkl&port=6881&left=0&compact=1&event=stopped&numwant=200")
	f.Add("info_hash=%zz")
	f.Fuzz(func(t *testing.T, query string) {
		req, err := parseAnnounce(query)
		if err != nil {
			return
		}
		if len(req.infoHash) != 40 || len(req.peerID) != 20 || req.left < 0 || req.numWant < 0 || req.numWant > mostPeers {
			t.Fatalf("%q reads as %+v", query, req)
		}
	})
}

func FuzzReadMessage(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x00\x00\x00\x01\x02\x00\x00\x00\x0d\x06\x00\x00\x00\x01\x00\x00\x40\x00\x00\x00\x40\x00"))
	f.Add([]byte(greeting))
	f.Fuzz(func(t *testing.T, b []byte) {
		if hash, err := readGreeting(bytes.NewReader(b)); err == nil && len(hash) != 40 {
			t.Fatal(hash)
		}
		const length = 3*pieceLength + 5
		r := bufio.NewReaderSize(bytes.NewReader(b), maxMessage)
		for {
			asked, _, err := readMessage(r)
			if err != nil {
				return
			}
			if at, err := asked.within(length, pieceLength); err == nil && (at < 0 || at+int64(asked.length) > length) {
				t.Fatalf("%+v is at %d", asked, at)
			}
		}
	})
}
