package plain

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"
)

const (
	// interval is how often a client is asked to announce, and leastInterval
	// how often it may.
	interval      = 2 * time.Minute
	leastInterval = 30 * time.Second
	// usualPeers and mostPeers are how many peers one answer names, if the
	// client says no number, and at most.
	usualPeers = 50
	mostPeers  = 100
	// maxQuery bounds the query of an announce in bytes.
	maxQuery = 2 << 10
)

// request is an announce. The addresses that a client may name in it (ip, ipv4,
// ipv6) are left out on purpose: nobody may send others to a third machine.
type request struct {
	infoHash string // lower-case hex
	peerID   string // 20 bytes
	port     uint16 // 0 for a client that cannot be reached
	left     int64  // bytes; more than none if the client does not say
	stopped  bool
	compact  bool
	numWant  int
}

// parseAnnounce reads the query of an announce. Errors are for the client.
func parseAnnounce(query string) (req request, err error) {
	if len(query) > maxQuery {
		return req, fmt.Errorf("a query of %d bytes is too long", len(query))
	}
	v, err := url.ParseQuery(query)
	if err != nil {
		return req, errors.New("the query is malformed")
	}
	hash := v.Get("info_hash")
	if len(hash) != 20 {
		return req, errors.New("info_hash has not 20 bytes")
	}
	req.infoHash = hex.EncodeToString([]byte(hash))
	if req.peerID = v.Get("peer_id"); len(req.peerID) != 20 {
		return req, errors.New("peer_id has not 20 bytes")
	}
	port, err := strconv.ParseUint(v.Get("port"), 10, 16)
	if err != nil {
		return req, errors.New("port is no port")
	}
	req.port = uint16(port)
	req.left = 1
	if s := v.Get("left"); s != "" {
		if req.left, err = strconv.ParseInt(s, 10, 64); err != nil || req.left < 0 {
			return req, errors.New("left is no number of bytes")
		}
	}
	req.numWant = usualPeers
	if n, err := strconv.Atoi(v.Get("numwant")); err == nil && n >= 0 {
		req.numWant = min(n, mostPeers)
	}
	req.stopped = v.Get("event") == "stopped"
	req.compact = v.Get("compact") != "0"
	return req, nil
}

// announce answers a client, as BEP 3 has it: failures too with status 200.
func (s *Server) announce(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	req, err := parseAnnounce(r.URL.RawQuery)
	if err == nil && !s.cfg.Payloads.Has(req.infoHash) {
		err = errors.New("this payload is not here")
	}
	if err != nil {
		s.stats.refused.Add(1)
		s.log.Debug("announce refused", "remote", r.RemoteAddr, "error", err)
		_, _ = w.Write(failure(err.Error())) //nolint:gosec // constant texts, and no browser reads them as a page
		return
	}
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		_, _ = w.Write(failure("the address of the caller is not known"))
		return
	}
	self := netip.AddrPortFrom(from.Addr().Unmap().WithZone(""), req.port)
	a := s.table.announce(req, self, time.Now())
	if req.left > 0 && !req.stopped {
		if here := reached(r); here.IsValid() {
			a.peers = append([]listed{{at: here, id: string(s.peerID[:])}}, a.peers...)
		}
	}
	a.complete++ // this node
	s.stats.announces.Add(1)
	_, _ = w.Write(a.encode(req.compact)) //nolint:gosec // bencoding, of text/plain
}

// reached returns the address at which a client reached this node, which is
// where it finds the seed: as it wrote it, if that is an address, or else this
// end of the connection, which is another behind a translator of addresses.
func reached(r *http.Request) netip.AddrPort {
	if at, err := netip.ParseAddrPort(r.Host); err == nil && at.Port() != 0 && !at.Addr().IsUnspecified() {
		return netip.AddrPortFrom(at.Addr().Unmap().WithZone(""), at.Port())
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return netip.AddrPort{}
	}
	at, _ := netip.ParseAddrPort(local.String())
	return netip.AddrPortFrom(at.Addr().Unmap().WithZone(""), at.Port())
}
