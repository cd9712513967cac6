package gossip

import (
	"time"

	"github.com/hashicorp/memberlist"
)

// profile is memberlist's LAN profile, made for streams between continents.
//
// The WAN profile takes 35 to 40 s to call a node dead, longer than agents and
// operators should look at a lie. The LAN profile takes about 6 s but allows a
// ping 500 ms, less than one lost segment costs on a path of 300 ms. With a
// ping of 1 s every 2 s a death is seen in 10 to 15 s, and a slow start of a
// stream, two handshakes there and back, is no death: the direct stream that
// memberlist tries next needs three round trips.
func profile() *memberlist.Config {
	conf := memberlist.DefaultLANConfig()
	conf.ProbeInterval = 2 * time.Second
	conf.ProbeTimeout = time.Second
	// A node may come back under another address. Its certificate says that it
	// is the same one, so its name is not held for the dead for long.
	conf.DeadNodeReclaimTime = time.Second
	// Messages are a few hundred bytes, and the streams are bounded as sent.
	conf.EnableCompression = false
	return conf
}
