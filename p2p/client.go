package p2p

import (
	"log/slog"
	"maps"
	"time"

	"github.com/anacrolix/torrent"
	"github.com/anacrolix/torrent/metainfo"
	pp "github.com/anacrolix/torrent/peer_protocol"
	"golang.org/x/time/rate"

	"redflag/api"
	"redflag/p2p/plan"
)

const (
	// askedTime is how much of a download cap may be asked for ahead: what is on
	// the way when a machine dies comes again.
	askedTime = 50 * time.Millisecond
	fewAsked  = 8
	// farRequests is the same for a peer of another region: the round trip is
	// long, and sources are few.
	farRequests = 128
	// blockSize is the unit of a request, in bytes.
	blockSize = 16 << 10
	// keepAlive is how long a connection that is of use stays silent. It is
	// short because v1.61.0 can lose the wake-up of a connection's writer, and
	// sends no requests then before the next keep-alive (32 bytes on the wire).
	keepAlive = time.Second
	// maxPeers bounds the connections of one torrent.
	maxPeers = 50
	// uploadBuffer bounds the payload bytes that wait to be sent to one peer.
	uploadBuffer = 256 << 10
)

// clientConfig sets the library up: our connections only, and nothing that
// finds peers or payload elsewhere.
func (s *Swarm) clientConfig() *torrent.ClientConfig {
	self := addressOf(s.cfg.Self.ID)
	id := clientID(s.cfg.Self.ID)

	c := torrent.NewDefaultClientConfig()
	c.DisableTCP = true
	c.DisableUTP = true
	c.NoDHT = true
	c.DisablePEX = true
	c.DisableTrackers = true
	c.DisableWebtorrent = true
	c.DisableWebseeds = true
	c.NoDefaultPortForwarding = true
	// TLS hides the stream already; without this the library dials twice.
	c.HeaderObfuscationPolicy = torrent.HeaderObfuscationPolicy{RequirePreferred: true, Preferred: false}

	c.PeerID = string(id[:])
	c.Bep20 = clientPrefix
	c.ExtendedHandshakeClientVersion = "redflag"
	c.PublicIp6 = self.at.Addr().AsSlice()
	c.DropDuplicatePeerIds = true
	// A leecher that does not seed stops giving once it gave a little more
	// than it got.
	c.Seed = true
	c.DefaultStorage = s.store
	// With a bound the library looks at the rarest pieces only. Of a payload
	// beyond it, those are the ones that nobody has offered yet.
	c.MaxUnverifiedBytes = 0

	c.EstablishedConnsPerTorrent = maxPeers
	c.HalfOpenConnsPerTorrent = maxPeers / 2
	c.DialRateLimiter = rate.NewLimiter(maxPeers, maxPeers)
	c.HandshakesTimeout = handshakeTimeout
	c.NominalDialTimeout = handshakeTimeout
	c.KeepAliveTimeout = keepAlive
	c.MaxAllocPeerRequestDataPerConn = uploadBuffer
	c.Slogger = slog.New(libraryLog{s.log.Named("torrent")})

	c.Callbacks.ReadMessage = s.onMessage
	c.Callbacks.PeerConnClosed = s.onPeerClosed
	c.Callbacks.ReadExtendedHandshake = s.onExtendedHandshake
	c.Callbacks.PeerConnAdded = append(c.Callbacks.PeerConnAdded, s.onPeerAdded)
	c.Callbacks.PeerConnReadExtensionMessage = append(c.Callbacks.PeerConnReadExtensionMessage, s.onExtensionMessage)
	c.Callbacks.SentRequest = append(c.Callbacks.SentRequest, s.onSent)
	c.Callbacks.DeletedRequest = append(c.Callbacks.DeletedRequest, s.onDeleted)
	c.Callbacks.ReceivedUsefulData = append(c.Callbacks.ReceivedUsefulData, s.onBlock)
	return c
}

// The callbacks run with the library's lock held: they may take leaf locks
// only, and call nothing of the library that locks.

// extensions leaves out the holepunch extension: it would have us dial what a
// peer names.
var extensions = torrent.LocalLtepProtocolMap{Index: []pp.ExtensionName{pp.ExtensionNameMetadata}, NumBuiltin: 1}

func (s *Swarm) onPeerAdded(c *torrent.PeerConn) {
	c.LocalLtepProtocolMap = &extensions
	if sh := s.share(c.Torrent().InfoHash()); sh != nil {
		sh.manners.meet(c)
	}
}

// onExtendedHandshake bounds what a peer may announce before it is believed.
func (s *Swarm) onExtendedHandshake(c *torrent.PeerConn, m *pp.ExtendedHandshakeMessage) {
	// The library counts the names of all others for as long as the process runs.
	maps.DeleteFunc(m.M, func(name pp.ExtensionName, _ pp.ExtensionNumber) bool { return name != pp.ExtensionNameMetadata })
	sh := s.share(c.Torrent().InfoHash())
	limit := farRequests
	if peer, ok := s.book.peer(c.RemoteAddr.String()); ok && peer.Region == s.cfg.Self.Region && sh != nil {
		limit = sh.asks.add(c, peer.Node, s.askBudget())
	}
	if m.Reqq <= 0 || m.Reqq > limit {
		m.Reqq = limit
	}
	if sh == nil || m.MetadataSize != sh.infoSize {
		m.MetadataSize = 0
	}
}

// askBudget is how many blocks may be asked of all peers of the region together.
func (s *Swarm) askBudget() int {
	if s.cfg.Download == nil || s.cfg.Download.Rate() == api.Unlimited {
		return plan.AskedAtOnce
	}
	ahead := s.cfg.Download.Rate().BytesPerSecond() * askedTime.Seconds() / blockSize
	return min(plan.AskedAtOnce, max(fewAsked, int(ahead)))
}

func (s *Swarm) onPeerClosed(c *torrent.PeerConn) {
	if t := c.Torrent(); t != nil {
		if sh := s.share(t.InfoHash()); sh != nil {
			sh.asks.remove(c, s.askBudget())
			sh.stalls.forget(c.RemoteAddr.String())
			sh.manners.forget(c)
		}
	}
}

// onExtensionMessage remembers who sent a part of the info dictionary last. It
// spoils a message that the library must not have.
func (s *Swarm) onExtensionMessage(e torrent.PeerConnReadExtensionMessageEvent) {
	sh := s.share(e.PeerConn.Torrent().InfoHash())
	if sh == nil { // every torrent of the library has a share as long as it is there
		return
	}
	if !sh.manners.allowExtended(e.PeerConn, e.ExtensionNumber, e.Payload, sh.infoSize) {
		clear(e.Payload)
		return
	}
	if e.ExtensionNumber != pp.HandshakeExtendedID {
		sh.infoFrom.Store(e.PeerConn.RemoteAddr.String())
	}
}

// onBlock accounts for a block of payload that was not there yet.
func (s *Swarm) onBlock(e torrent.ReceivedUsefulDataEvent) {
	sh := s.share(e.Peer.Torrent().InfoHash())
	peer, known := s.book.peer(e.Peer.RemoteAddr.String())
	if sh != nil {
		sh.stalls.delivered(e.Peer.RemoteAddr.String())
		sh.asks.delivered(time.Now(), s.askBudget())
	}
	if sh != nil && known {
		sh.ledger.received(e.Message.Index.Int(), peer, int64(len(e.Message.Piece)))
	}
}

// onBadInfo runs when a false info dictionary is complete. The library closes
// the connection it came by; a Fetch opens the torrent anew.
func (s *Swarm) onBadInfo(h metainfo.Hash) {
	sh := s.share(h)
	if sh == nil {
		return
	}
	from, _ := sh.infoFrom.Load().(string)
	if peer, ok := s.book.peer(from); ok {
		s.book.refuse(peer.ID, refusal)
		s.log.Warn("peer sent a false info dictionary", keyInfoHash, sh.hex, keyPeer, peer.ID)
	}
	select {
	case sh.spoiled <- struct{}{}:
	default:
	}
}
