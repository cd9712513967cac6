package p2p

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/anacrolix/torrent/metainfo"

	"redflag/durable"
)

// fileStamp is the file that vouches for a whole payload: every piece was
// verified and synced while the data file looked as it says. A start believes
// it only if the file still looks so to the letter; a payload without a stamp
// that fits is hashed again before it is given to anybody. It is never parsed.
const (
	fileStamp = "stamp"
	maxStamp  = 4 << 10
)

// errUnstamped says that a payload claims to be whole, and no stamp vouches for it.
var errUnstamped = errors.New("the payload has changed since its pieces were verified, or was never stamped")

// stampText is what the stamp of a whole payload says at this moment.
func (p *payload) stampText() ([]byte, error) {
	st, err := os.Stat(filepath.Join(p.dir, fileData))
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "redflag payload 1\ninfo hash %s\nverified pieces %d of %d bytes\nsize %d\nmodified %d ns\n%s\n",
		filepath.Base(p.dir), p.pieces, p.pieceLength, st.Size(), st.ModTime().UnixNano(), fileIdentity(st)), nil
}

// stamp vouches for the payload, whose data is synced. A crash before its end
// leaves no stamp, or an older one that does not fit.
func (p *payload) stamp() error {
	text, err := p.stampText()
	if err == nil {
		err = durable.WriteFile(filepath.Join(p.dir, fileStamp), text, 0o600)
	}
	return diskError("stamp payload", err)
}

// stamped reports whether the stamp fits the data file.
func (p *payload) stamped() bool {
	text, err := p.stampText()
	if err != nil {
		return false
	}
	b, err := durable.ReadFile(filepath.Join(p.dir, fileStamp), maxStamp)
	return err == nil && bytes.Equal(b, text)
}

// check hashes a payload that claims to be whole. If it is, the stamp says so
// from now on; if not, the pieces that are bad are missing from now on. Nobody
// else may use the payload's folder meanwhile.
func (s *store) check(ctx context.Context, h metainfo.Hash) (read int64, err error) {
	info, err := readInfo(s.dir(h), h)
	if err != nil {
		return 0, err
	}
	p := newPayload(s.dir(h), info.length, info.pieceLength)
	if err := p.readBits(); err != nil {
		return 0, err
	}
	if p.data, err = os.OpenFile(filepath.Join(p.dir, fileData), os.O_RDWR, 0); err != nil {
		return 0, diskError("open payload", err)
	}
	defer p.close()
	before, err := p.stampText()
	if err != nil {
		return 0, diskError("check payload", err)
	}
	bad := 0
	for i := range p.pieces {
		if ctx.Err() != nil {
			return read, context.Cause(ctx)
		}
		if !p.has(i) {
			continue
		}
		read += p.section(i).Size()
		good, err := p.matches(i, info.hashes)
		if err != nil {
			return read, err
		}
		if !good {
			bad++
			p.have[i/8] &^= bit(i)
			p.kept[i/8] &^= bit(i)
		}
	}
	if bad > 0 {
		return read, errors.Join(fmt.Errorf("%d of %d pieces are bad: %w", bad, p.pieces, ErrNotComplete), p.writeBits())
	}
	if err := p.data.Sync(); err != nil {
		return read, diskError("sync payload", err)
	}
	if after, err := p.stampText(); err != nil || !bytes.Equal(before, after) {
		return read, errors.Join(errUnstamped, err)
	}
	return read, p.stamp()
}

// matches reports whether piece i is on disk as its hash says.
func (p *payload) matches(i int, hashes []byte) (bool, error) {
	sum := newPieceHash()
	if _, err := io.Copy(sum, p.section(i)); err != nil {
		return false, diskError("read payload", err)
	}
	return bytes.Equal(sum.Sum(nil), hashes[i*hashSize:(i+1)*hashSize]), nil
}

// checking is the check of one payload at a start.
type checking struct {
	hash   metainfo.Hash
	ctx    context.Context //nolint:containedctx // of the check, which others may end
	cancel context.CancelFunc
	done   chan struct{}
}

// checkLater has doubtful payloads checked one after the other.
func (s *Swarm) checkLater(doubtful []metainfo.Hash) {
	var queue []*checking
	for _, h := range doubtful {
		ctx, cancel := context.WithCancel(s.ctx)
		c := &checking{hash: h, ctx: ctx, cancel: cancel, done: make(chan struct{})}
		s.checks[h] = c
		queue = append(queue, c)
	}
	s.work.Go(func() {
		for _, c := range queue {
			s.check(c)
		}
	})
}

// check opens a doubtful payload if it is whole, and announces it if the others
// were announced meanwhile.
func (s *Swarm) check(c *checking) {
	defer close(c.done)
	defer c.cancel()
	log := s.log.With(keyInfoHash, c.hash.HexString())
	read, err := s.store.check(c.ctx, c.hash)
	s.checked.Add(read)

	s.ops.Lock()
	defer s.ops.Unlock()
	s.mu.Lock()
	delete(s.checks, c.hash)
	s.mu.Unlock()
	if c.ctx.Err() != nil {
		return
	}
	var p *payload
	if err == nil {
		p, err = s.store.load(c.hash)
	}
	if err != nil {
		log.Warn("payload on disk is not whole", "read", read, "error", err)
		return
	}
	log.Info("payload hashed again: its stamp did not fit", "read", read)
	sh := s.open(c.hash, p)
	if s.seedAll != nil {
		s.announce(s.ctx, sh, s.seedAll)
	}
}

// settle waits until a payload is not being checked any more. Whoever replaces
// or removes it has no use for the check and ends it.
func (s *Swarm) settle(ctx context.Context, h metainfo.Hash, end bool) error {
	s.mu.Lock()
	c := s.checks[h]
	s.mu.Unlock()
	if c == nil {
		return nil
	}
	if end {
		c.cancel()
	}
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// endChecks ends all checks and waits for that.
func (s *Swarm) endChecks() {
	s.mu.Lock()
	var open []*checking
	for _, c := range s.checks {
		open = append(open, c)
	}
	s.mu.Unlock()
	for _, c := range open {
		c.cancel()
		<-c.done
	}
}

// Checked returns how many bytes of payloads this process has read to verify
// them anew, because no stamp vouched for them at its start.
func (s *Swarm) Checked() int64 { return s.checked.Load() }
