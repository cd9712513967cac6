package plain

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"
)

const (
	// idleTimeout is how long a peer may want nothing.
	idleTimeout = 3 * time.Minute
	// blockTimeout bounds the sending of one block. It is long: a narrow cap
	// has every connection wait for the others.
	blockTimeout = 10 * time.Minute
	// maxQueue bounds the blocks that a peer may ask for ahead. It is read from
	// no further beyond it.
	maxQueue = 256
)

// seed gives blocks to a peer until one side has enough.
func (s *Server) seed(c net.Conn, r *bufio.Reader) {
	infoHash, err := readGreeting(r)
	if err != nil {
		s.refuse(c, err.Error())
		return
	}
	p, err := s.cfg.Payloads.Open(infoHash)
	if err != nil {
		s.refuse(c, err.Error())
		return
	}
	defer p.Data.Close()
	hello, err := opening(infoHash, s.peerID, (p.Length+p.PieceLength-1)/p.PieceLength)
	if err == nil {
		_ = c.SetWriteDeadline(time.Now().Add(blockTimeout))
		_, err = c.Write(hello)
	}
	if err != nil {
		s.refuse(c, err.Error())
		return
	}
	s.stats.peers.Add(1)
	defer s.stats.peers.Add(-1)
	log := s.log.With("remote", c.RemoteAddr().String(), "info_hash", infoHash)
	log.Debug("plain peer connected")

	q := newQueue()
	var sender sync.WaitGroup
	var sent int64
	sender.Go(func() {
		sent = s.send(c, p, q)
		_ = c.Close() // wakes the reader
		q.close()
	})
	err = take(c, r, p, q)
	q.close()
	_ = c.Close() // wakes the sender
	sender.Wait()
	if errors.Is(err, errProtocol) {
		s.stats.refused.Add(1)
	}
	log.Debug("plain peer gone", "sent", sent, "error", err)
}

// take queues what the peer asks for.
func take(c net.Conn, r *bufio.Reader, p Payload, q *queue) error {
	for {
		_ = c.SetReadDeadline(time.Now().Add(idleTimeout))
		b, wanted, err := readMessage(r)
		if err != nil {
			return err
		}
		if _, err := b.within(p.Length, p.PieceLength); err != nil {
			return err
		}
		if !wanted {
			q.cancel(b)
		} else if !q.push(b) {
			return net.ErrClosed
		}
	}
}

// send writes the blocks of the queue until it is closed, and returns how many
// bytes of payload those were.
func (s *Server) send(c net.Conn, p Payload, q *queue) (sent int64) {
	const head = 4 + 1 + 4 + 4
	var buf []byte
	for {
		b, ok := q.pop()
		if !ok {
			return sent
		}
		offset, err := b.within(p.Length, p.PieceLength)
		if err != nil {
			return sent
		}
		buf = slices.Grow(buf[:0], head+int(b.length))[:head+b.length]
		binary.BigEndian.PutUint32(buf, uint32(len(buf)-4))
		buf[4] = kindPiece
		binary.BigEndian.PutUint32(buf[5:], b.index)
		binary.BigEndian.PutUint32(buf[9:], b.begin)
		if n, err := p.Data.ReadAt(buf[head:], offset); n < int(b.length) {
			s.log.Error("payload not read", "error", fmt.Errorf("at %d: %w", offset, errors.Join(err, io.ErrUnexpectedEOF)))
			return sent
		}
		_ = c.SetWriteDeadline(time.Now().Add(blockTimeout))
		if _, err := c.Write(buf); err != nil {
			return sent
		}
		sent += int64(b.length)
		s.stats.sent.Add(int64(b.length))
		_ = c.SetReadDeadline(time.Now().Add(idleTimeout)) // it waited for us
	}
}

// queue is what a peer waits for. It is safe for concurrent use.
type queue struct {
	mu     sync.Mutex
	change *sync.Cond
	blocks []block
	closed bool
}

func newQueue() *queue {
	q := &queue{}
	q.change = sync.NewCond(&q.mu)
	return q
}

// push waits for room. It returns false once the queue is closed.
func (q *queue) push(b block) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.blocks) >= maxQueue && !q.closed {
		q.change.Wait()
	}
	q.blocks = append(q.blocks, b)
	q.change.Broadcast()
	return !q.closed
}

// pop waits for a block. It returns false once the queue is closed.
func (q *queue) pop() (b block, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.blocks) == 0 && !q.closed {
		q.change.Wait()
	}
	if q.closed {
		return b, false
	}
	b = q.blocks[0]
	q.blocks = slices.Delete(q.blocks, 0, 1)
	q.change.Broadcast()
	return b, true
}

// cancel takes a block back that was not sent yet.
func (q *queue) cancel(b block) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.blocks = slices.DeleteFunc(q.blocks, func(o block) bool { return o == b })
	q.change.Broadcast()
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.change.Broadcast()
}
