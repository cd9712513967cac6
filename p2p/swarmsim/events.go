package main

// what an event is about.
type what uint8

const (
	whenSent     what = iota // a's uplink is free again
	whenArrived              // b has a piece that a sent
	whenAnnounce             // a asks its tracker
	whenTick                 // the plan looks around
	whenServe                // a has somebody to serve again
	whenLeave                // a's machine goes down
	whenReturn               // and comes back
)

// event is something that happens at a time, in nanoseconds of the simulation.
type event struct {
	at     int64
	seq    uint32 // of two at one time the earlier made comes first
	what   what
	a, b   int32
	piece  int32
	ea, eb uint16 // the lives of a and b that it belongs to
}

// calendar holds the events to come: a binary heap.
type calendar struct {
	heap []event
	seq  uint32
}

func (c *calendar) before(i, j int) bool {
	x, y := &c.heap[i], &c.heap[j]
	return x.at < y.at || (x.at == y.at && x.seq < y.seq)
}

func (c *calendar) add(e event) {
	c.seq++
	e.seq = c.seq
	c.heap = append(c.heap, e)
	for i := len(c.heap) - 1; i > 0; {
		parent := (i - 1) / 2
		if !c.before(i, parent) {
			return
		}
		c.heap[i], c.heap[parent] = c.heap[parent], c.heap[i]
		i = parent
	}
}

func (c *calendar) next() (e event, ok bool) {
	if len(c.heap) == 0 {
		return e, false
	}
	e = c.heap[0]
	last := len(c.heap) - 1
	c.heap[0] = c.heap[last]
	c.heap = c.heap[:last]
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < last; child++ {
			if c.before(child, least) {
				least = child
			}
		}
		if least == i {
			return e, true
		}
		c.heap[i], c.heap[least] = c.heap[least], c.heap[i]
		i = least
	}
}
