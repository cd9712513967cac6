package agent

import (
	"time"

	"redflag/api"
)

const (
	// How long a node that failed is left alone, by full jitter.
	coolBase  = 2 * time.Second
	coolLimit = time.Minute
	// trialsWanted is how many trials in a row must go well before a node that
	// failed is preferred again: a node that comes and goes is not near.
	trialsWanted = 2
	trialGap     = 2 * time.Second
	// maxTripped bounds what is remembered of nodes that are gone.
	maxTripped = 2 * maxNodes
)

// breaker is a circuit breaker for one node that failed. While it is there the
// node is asked last; trials beside the polls decide when it goes.
type breaker struct {
	until  time.Time // no trial before
	closed time.Time // it is not to be asked at all before
	wait   backoff
	good   int // trials in a row that went well
}

// penaltyLocked is 1 for a node that has to prove itself first, else 0.
func (l *nodeList) penaltyLocked(n api.NodeAddr) int {
	if l.tripped[n.Addr] != nil {
		return 1
	}
	return 0
}

// failed records that n did not answer, or not usefully, and that it is not to
// be asked again before leave has passed.
func (l *nodeList) failed(n api.NodeAddr, leave time.Duration) {
	l.rtt.Fail(n.ID)
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.tripped[n.Addr]
	if b == nil {
		b = &breaker{wait: backoff{base: coolBase, limit: coolLimit}}
		l.tripped[n.Addr] = b
	}
	b.good = 0
	b.until, b.closed = l.now().Add(max(b.wait.next(), leave)), l.now().Add(leave)
}

// well records that n answered.
func (l *nodeList) well(n api.NodeAddr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.tripped[n.Addr]
	if b == nil {
		return
	}
	if b.good++; b.good >= trialsWanted {
		delete(l.tripped, n.Addr)
		return
	}
	b.until, b.closed = l.now().Add(trialGap), time.Time{}
}

// closedFor is how long n still wants to be left alone.
func (l *nodeList) closedFor(n api.NodeAddr) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b := l.tripped[n.Addr]; b != nil {
		return b.closed.Sub(l.now())
	}
	return 0
}

// onTrial returns the nodes that failed and are due for another trial.
func (l *nodeList) onTrial() (due []api.NodeAddr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range l.allLocked() {
		if b := l.tripped[n.Addr]; b != nil && l.now().After(b.until) {
			due = append(due, n)
		}
	}
	return due
}

// forgetLocked drops what is known of nodes that nobody names any more, once
// it is much. A dead node is not named, and has to prove itself when it is
// back.
func (l *nodeList) forgetLocked() {
	if len(l.tripped) <= maxTripped {
		return
	}
	named := map[string]bool{}
	for _, n := range l.allLocked() {
		named[n.Addr] = true
	}
	for addr := range l.tripped {
		if !named[addr] {
			delete(l.tripped, addr)
		}
	}
}
