package gossip

import (
	"maps"
	"sync"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/serf/coordinate"
)

// positions places the nodes in a space whose distances are round trips:
// Vivaldi (Dabek et al., SIGCOMM 2004), fed by the pings that memberlist sends
// anyway. Each ping brings the other node's own idea of where it is.
type positions struct {
	here *coordinate.Client

	mu   sync.Mutex
	byID map[string]*coordinate.Coordinate // as last heard
}

// position is a coordinate on the wire. The lengths are seconds.
type position struct {
	Vec        []float64 `cbor:"1,keyasint"`
	Error      float64   `cbor:"2,keyasint"`
	Adjustment float64   `cbor:"3,keyasint"`
	Height     float64   `cbor:"4,keyasint"`
}

// maxPosition bounds the description of a position, in bytes.
const maxPosition = 256

func newPositions() (*positions, error) {
	here, err := coordinate.NewClient(coordinate.DefaultConfig())
	if err != nil {
		return nil, err
	}
	return &positions{here: here, byID: map[string]*coordinate.Coordinate{}}, nil
}

// AckPayload implements memberlist.PingDelegate.
func (p *positions) AckPayload() []byte {
	c := p.here.GetCoordinate()
	b, err := cbor.Marshal(position{Vec: c.Vec, Error: c.Error, Adjustment: c.Adjustment, Height: c.Height})
	if err != nil {
		return nil // floats can be encoded
	}
	return b
}

// NotifyPingComplete implements memberlist.PingDelegate. An older node says
// nothing about where it is.
func (p *positions) NotifyPingComplete(n *memberlist.Node, rtt time.Duration, payload []byte) {
	c, err := decodePosition(payload)
	if err != nil {
		return
	}
	if _, err := p.here.Update(n.Name, c, rtt); err != nil {
		return // it is no place in our space
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.byID[n.Name] = c
}

func decodePosition(b []byte) (*coordinate.Coordinate, error) {
	var w position
	if len(b) > maxPosition || metaMode.Unmarshal(b, &w) != nil {
		return nil, errMeta
	}
	c := &coordinate.Coordinate{Vec: w.Vec, Error: w.Error, Adjustment: w.Adjustment, Height: w.Height}
	if !c.IsValid() || !c.IsCompatibleWith(coordinate.NewCoordinate(coordinate.DefaultConfig())) {
		return nil, errMeta
	}
	return c, nil
}

// forget drops a node that has left.
func (p *positions) forget(id string) {
	p.here.ForgetNode(id)
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.byID, id)
}

// distances returns the estimated round trip from one node to each that it has
// a place for. from is a node's id, or empty for this node.
func (p *positions) distances(from string) map[string]time.Duration {
	p.mu.Lock()
	byID := maps.Clone(p.byID)
	p.mu.Unlock()
	center := p.here.GetCoordinate()
	if from != "" {
		center = byID[from]
	}
	out := map[string]time.Duration{}
	if center == nil {
		return out
	}
	for id, c := range byID {
		if id != from {
			out[id] = center.DistanceTo(c)
		}
	}
	return out
}
