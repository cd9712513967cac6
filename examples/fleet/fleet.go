package main

import (
	"container/heap"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"redflag/api"
	"redflag/trust/pki"
)

// fleet is the agents and who of them is due next.
type fleet struct {
	p        *profile
	token    pki.RegistrationToken
	stranger *tls.Config
	agents   []*agent
	figures  figures
}

func newFleet(p *profile) (*fleet, error) {
	token, err := pki.ParseRegistrationToken(p.token)
	if err != nil {
		return nil, err
	}
	roots, err := pki.TrustAnchor(token.CA)
	if err != nil {
		return nil, err
	}
	f := &fleet{p: p, token: token, stranger: &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: roots, ServerName: pki.NodeServerName, NextProtos: []string{pki.ALPNHTTP},
	}}
	for i := range p.agents {
		f.agents = append(f.agents, &agent{p: p, id: fmt.Sprintf("%s-%d", p.prefix, i+1), link: link{p: p, of: i}})
	}
	return f, nil
}

// enrol makes every agent a member, at the rate of the profile.
func (f *fleet) enrol(ctx context.Context) error {
	limit := rate.NewLimiter(rate.Limit(f.p.rate), f.p.rate/10+1)
	group, enrolling := errgroup.WithContext(ctx)
	group.SetLimit(min(f.p.workers, 64))
	var done atomic.Int64
	for _, a := range f.agents {
		if limit.Wait(enrolling) != nil {
			break // the group knows why
		}
		group.Go(func() error {
			for {
				err := a.enrol(enrolling, f.token, f.stranger)
				if err == nil {
					if n := done.Add(1); n%10_000 == 0 {
						f.p.print(map[string]any{"enrolling": n}, fmt.Sprintf("%d enrolled", n))
					}
					return nil
				}
				if api.CodeOf(err) != api.CodeRateLimited || !pause(enrolling, time.Duration(rand.Int64N(int64(time.Second)))) {
					return err
				}
			}
		})
	}
	return errors.Join(group.Wait(), ctx.Err())
}

// meet lets every agent poll once, as fast as the node answers. The first
// handshake of each is a full one, and its answer has the cluster's news: a fleet
// that has run for a while brings neither. What fails comes again with its turn.
func (f *fleet) meet(ctx context.Context) {
	var group errgroup.Group
	group.SetLimit(min(f.p.workers, 64))
	for i, a := range f.agents {
		if i > 0 && i%10_000 == 0 {
			f.p.print(map[string]any{"polled_once": i}, fmt.Sprintf("%d polled once", i))
		}
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			_, _ = a.poll(ctx)
			return nil
		})
	}
	_ = group.Wait()
}

func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// poll lets every agent poll when it is due, until the time of the profile is
// over. It begins with polls that are spread out, as those of a fleet that has
// run for a while.
func (f *fleet) poll(ctx context.Context) error {
	if f.p.total > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.p.total)
		defer cancel()
	}
	now := time.Now()
	if f.p.outageFor > 0 {
		f.p.outageStarted = now.Add(f.p.outageAfter)
	}
	q := &queue{}
	for _, a := range f.agents {
		a.due = now.Add(time.Duration(rand.Int64N(int64(f.p.spread))))
		heap.Push(q, a)
	}
	work, back := make(chan *agent), make(chan *agent, f.p.workers)
	var workers sync.WaitGroup
	for range f.p.workers {
		workers.Go(func() {
			for a := range work {
				f.one(ctx, a)
				back <- a
			}
		})
	}
	f.figures.begin(f.p)
	f.dispatch(ctx, q, work, back)
	close(work)
	go func() {
		for range back { // lets the last workers end
		}
	}()
	workers.Wait()
	close(back)
	f.figures.window(f.p)
	return nil
}

// dispatch hands agents to workers as they become due.
func (f *fleet) dispatch(ctx context.Context, q *queue, work chan<- *agent, back <-chan *agent) {
	tick := time.NewTicker(f.p.window)
	defer tick.Stop()
	wake := time.NewTimer(0)
	defer wake.Stop()
	for {
		var next *agent
		var to chan<- *agent
		if q.Len() > 0 {
			if wait := time.Until((*q)[0].due); wait <= 0 {
				next, to = (*q)[0], work
			} else {
				wake.Reset(wait)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			f.figures.window(f.p)
		case a := <-back:
			heap.Push(q, a)
		case <-wake.C:
		case to <- next:
			heap.Pop(q)
		}
	}
}

// one lets an agent poll. Its time runs from when it was due: what it waited
// for a worker is the fleet's fault and counts all the same.
func (f *fleet) one(ctx context.Context, a *agent) {
	due := a.due
	seen, err := a.poll(ctx)
	if ctx.Err() == nil {
		f.figures.add(time.Since(due), seen, err)
	}
}

// queue is a heap of agents by when they are due.
type queue []*agent

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)        { *q = append(*q, x.(*agent)) }
func (q *queue) Pop() any {
	old := *q
	a := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return a
}
