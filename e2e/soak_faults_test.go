//go:build linux

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"redflag/api"
)

// fault is one thing that was done to the mesh.
type fault struct {
	kind, to     string
	began, ended time.Time
}

// faultKind hurts something, and returns what it hurt and how to mend it.
type faultKind struct {
	name   string
	injure func(s *soak, pick func(n int) int) (to string, mend func() error, err error)
}

// What befalls nodes and their regions.
var nodeFaults = []faultKind{
	{"kill the leader", func(s *soak, _ func(int) int) (string, func() error, error) { return s.killNode(s.leader()) }},
	{"kill a node", func(s *soak, pick func(int) int) (string, func() error, error) { return s.killNode(s.victim(pick)) }},
	{"kill all nodes but one", (*soak).killMajority},
	{"pause the leader", func(s *soak, _ func(int) int) (string, func() error, error) { return pause(s.nodes[s.leader()]) }},
	{"pause a node", func(s *soak, pick func(int) int) (string, func() error, error) {
		return pause(s.nodes[s.anywhere(pick)])
	}},
	{"cut off a node", func(s *soak, pick func(int) int) (string, func() error, error) {
		region := s.anywhere(pick)
		return s.nodes[region].id, func() error { return s.hosts[region].Cut(false) }, s.hosts[region].Cut(true)
	}},
	{"cut off a region", func(s *soak, pick func(int) int) (string, func() error, error) {
		region := s.anywhere(pick)
		return region, func() error { return s.cables[region].Cut(false) }, s.cables[region].Cut(true)
	}},
	{"fill a node's disk", func(s *soak, _ func(int) int) (string, func() error, error) { return s.fill(s.nodes[soakSmall]) }},
}

// What befalls agents.
var agentFaults = []faultKind{
	{"kill agents", func(s *soak, pick func(int) int) (string, func() error, error) {
		p := s.agent(pick, true)
		p.kill()
		return p.id, func() error { p.start(); return nil }, nil
	}},
	{"pause an agent", func(s *soak, pick func(int) int) (string, func() error, error) { return pause(s.agent(pick, false)) }},
	{"cut off an agent", func(s *soak, pick func(int) int) (string, func() error, error) {
		host := s.hosts[s.agent(pick, false).id]
		return host.IP, func() error { return host.Cut(false) }, host.Cut(true)
	}},
	{"fill an agent's disk", func(s *soak, _ func(int) int) (string, func() error, error) { return s.fill(s.procs[soakSmallAgent]) }},
}

var soakRegions = []string{"eu", "us", "ap"}

func (s *soak) anywhere(pick func(int) int) string { return soakRegions[pick(len(soakRegions))] }

// victim is a region whose node may be killed.
func (s *soak) victim(pick func(int) int) string {
	may := slices.DeleteFunc(slices.Clone(soakRegions), func(r string) bool { return r == soakWitness })
	return may[pick(len(may))]
}

// agent picks one, or one that may be killed.
func (s *soak) agent(pick func(int) int, kill bool) *proc {
	var ids []string
	for _, region := range soakRegions {
		for _, id := range s.agents[region] {
			if !kill || !strings.HasSuffix(id, soakWitnessAgent) {
				ids = append(ids, id)
			}
		}
	}
	return s.procs[ids[pick(len(ids))]]
}

// injure does one thing after the other, until ctx ends, and mends it again:
// every kind once before any comes twice.
func (s *soak) injure(ctx context.Context, kinds []faultKind, rng *rand.Rand) error {
	for {
		for _, i := range rng.Perm(len(kinds)) {
			hold := 3*time.Second + time.Duration(rng.Int64N(int64(5*time.Second)))
			rest := time.Second + time.Duration(rng.Int64N(int64(4*time.Second)))
			choice := rng.Uint64()
			if deadline, _ := ctx.Deadline(); time.Until(deadline) < hold {
				return nil
			}
			err := s.once(kinds[i], hold, func(n int) int { return int(choice % uint64(n)) })
			if err != nil {
				return fmt.Errorf("%s: %w", kinds[i].name, err)
			}
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(rest):
			}
		}
	}
}

// once does one thing for so long. It mends it whatever happens.
func (s *soak) once(kind faultKind, hold time.Duration, pick func(int) int) error {
	f := fault{kind: kind.name, began: time.Now()}
	to, mend, err := kind.injure(s, pick)
	if err != nil || mend == nil {
		return err
	}
	f.to = to
	s.say("%s: %s for %.1f s", kind.name, to, hold.Seconds())
	time.Sleep(hold)
	if err := mend(); err != nil {
		return err
	}
	f.ended = time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, f)
	return nil
}

// leader is the region of the leading node, or the one of the first where none
// says that it leads.
func (s *soak) leader() string {
	for _, region := range soakRegions {
		ctx, cancel := context.WithTimeout(s.t.Context(), time.Second)
		var page struct{ Items []api.Node }
		err := s.at(region).Do(ctx, http.MethodGet, "/v1/nodes", nil, &page)
		cancel()
		if err != nil {
			continue
		}
		for _, n := range page.Items {
			if n.Leader {
				return n.Region
			}
		}
	}
	return soakRegions[0]
}

// killNode kills a node at once, or pauses the witness instead: leadership moves
// all the same, and the next time another one leads.
func (s *soak) killNode(region string) (string, func() error, error) {
	if region == soakWitness {
		return pause(s.nodes[region])
	}
	p := s.nodes[region]
	p.kill()
	return p.id, func() error { return s.restart(region) }, nil
}

func (s *soak) killMajority(func(int) int) (string, func() error, error) {
	var ids []string
	var mends []func() error
	for _, region := range soakRegions {
		if region == soakWitness {
			continue
		}
		id, mend, _ := s.killNode(region)
		ids, mends = append(ids, id), append(mends, mend)
	}
	return strings.Join(ids, ", "), func() error { return errors.Join(mends[0](), mends[1]()) }, nil
}

// restart starts a killed node again and waits until it says where it listens.
func (s *soak) restart(region string) error {
	p := s.nodes[region]
	runtime := s.path(p.id, "runtime.json")
	if err := os.Remove(runtime); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	p.start()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if _, err := os.Stat(runtime); err == nil {
			s.find(region)
			return nil
		}
	}
	return fmt.Errorf("%s does not come back", p.id)
}

func pause(p *proc) (string, func() error, error) {
	process := p.cmd.Process
	return p.id, func() error {
		if err := process.Signal(syscall.SIGCONT); !errors.Is(err, os.ErrProcessDone) {
			return err
		}
		return nil
	}, process.Signal(syscall.SIGSTOP)
}

// fill takes every byte that is left on the small disk of a process. One that
// ends because of it is started again, as systemd does.
func (s *soak) fill(p *proc) (string, func() error, error) {
	filler := s.path(p.id, "filler")
	f, err := os.Create(filler)
	if err != nil {
		return "", nil, err
	}
	defer f.Close()
	for block := bytes.Repeat([]byte{1}, 64<<10); len(block) > 0; {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			block = block[:len(block)/2]
		} else if err != nil {
			return "", nil, err
		}
	}
	return p.id, func() error {
		if err := os.Remove(filler); err != nil {
			return err
		}
		return s.revive(p)
	}, nil
}

// revive starts a process whose full disk has ended it.
func (s *soak) revive(p *proc) error {
	select {
	case <-p.done:
	default:
		return nil
	}
	s.say("%s had ended on its full disk; it is started again", p.id)
	if p == s.nodes[soakSmall] {
		return s.restart(soakSmall)
	}
	p.start()
	return nil
}
