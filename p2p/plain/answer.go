package plain

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"
)

// answer is what a tracker says to an announce.
type answer struct {
	complete, incomplete int
	peers                []listed
}

// encode writes an answer in bencoding: peers of IPv4 and of IPv6 as strings of
// addresses (BEP 23, BEP 7), or as a list of dictionaries (BEP 3).
func (a answer) encode(compact bool) []byte {
	b := fmt.Appendf(nil, "d8:completei%de10:incompletei%de8:intervali%de12:min intervali%de5:peers",
		a.complete, a.incomplete, int(interval.Seconds()), int(leastInterval.Seconds()))
	if !compact {
		b = append(b, 'l')
		for _, p := range a.peers {
			b = append(b, "d2:ip"...)
			b = text(b, p.at.Addr().String())
			b = append(b, "7:peer id"...)
			b = text(b, p.id)
			b = fmt.Appendf(b, "4:porti%dee", p.at.Port())
		}
		return append(b, "ee"...)
	}
	var four, six []byte
	for _, p := range a.peers {
		if p.at.Addr().Is4() {
			four = appendAddr(four, p.at)
		} else {
			six = appendAddr(six, p.at)
		}
	}
	b = text(b, string(four))
	if len(six) > 0 {
		b = append(b, "6:peers6"...)
		b = text(b, string(six))
	}
	return append(b, 'e')
}

func appendAddr(b []byte, at netip.AddrPort) []byte {
	b = append(b, at.Addr().AsSlice()...)
	return binary.BigEndian.AppendUint16(b, at.Port())
}

func failure(reason string) []byte {
	b := append([]byte("d"), "14:failure reason"...)
	return append(text(b, reason), 'e')
}

// text appends a string in bencoding.
func text(b []byte, s string) []byte {
	return append(fmt.Appendf(b, "%d:", len(s)), s...)
}

// Torrent returns a .torrent file (BEP 3) around a bencoded info dictionary.
// The dictionary is not changed: its hash is what the payload is known by.
func Torrent(info []byte, announce string, created time.Time) []byte {
	b := []byte("d8:announce")
	b = text(b, announce)
	b = append(b, "10:created by"...)
	b = text(b, "redflag")
	b = fmt.Appendf(b, "13:creation datei%de", created.Unix())
	b = append(b, "4:info"...)
	return append(append(b, info...), 'e')
}
