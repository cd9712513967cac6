//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"time"

	"redflag/netlab"
	"redflag/p2p"
	"redflag/trust/pki"
)

// The ways of a payload to the agents.
const (
	waySwarm = "swarm"
	wayHTTP  = "http"
)

// raceTimeout ends a race that some agent never finishes.
const raceTimeout = 30 * time.Minute

// field is one network with a payload to bring to all its agents.
type field struct {
	dir     string
	lab     *netlab.Lab
	node    *netlab.Host
	agents  []*netlab.Host
	ca      *pki.Authority
	payload string
	sum     [sha256.Size]byte
	torrent p2p.Torrent
	bound   time.Duration
	races   int
	trace   *trace // nil without
}

func newField(dir string, node netlab.Link, agents []netlab.Link, size int64) (*field, error) {
	f := &field{bound: bound(node, agents, size)}
	if err := f.build(dir, node, agents, size); err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

func (f *field) build(dir string, node netlab.Link, agents []netlab.Link, size int64) (err error) {
	if f.dir, err = os.MkdirTemp(dir, "swarmbench-*"); err != nil {
		return err
	}
	if f.ca, err = pki.NewAuthority("bench", time.Now()); err != nil {
		return err
	}
	if err := f.write(size); err != nil {
		return err
	}
	if f.lab, err = netlab.New(); err != nil {
		return err
	}
	hub, err := f.lab.Switch(nil, netlab.Link{})
	if err != nil {
		return err
	}
	if f.node, err = hub.Host(node); err != nil {
		return err
	}
	for _, link := range agents {
		h, err := hub.Host(link)
		if err != nil {
			return err
		}
		f.agents = append(f.agents, h)
	}
	return nil
}

// write makes a payload of random bytes.
func (f *field) write(size int64) error {
	f.payload = filepath.Join(f.dir, "payload")
	out, err := os.Create(f.payload)
	if err != nil {
		return err
	}
	defer out.Close()
	sum := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(out, sum), rand.Reader, size); err != nil {
		return err
	}
	f.sum = [sha256.Size]byte(sum.Sum(nil))
	if _, err := out.Seek(0, io.SeekStart); err != nil {
		return err
	}
	f.torrent, err = p2p.MakeTorrent(out, size)
	return err
}

func (f *field) close() error {
	var err error
	if f.lab != nil {
		err = f.lab.Close()
	}
	return errors.Join(err, os.RemoveAll(f.dir))
}

// result is what one race came to.
type result struct {
	makespan, median      time.Duration
	nodePayload, nodeWire float64 // sent by the node, in payloads
	waste                 float64 // bytes that came more than once, by payload bytes of all agents
	cpu                   float64 // part of all CPUs that the machines used
	rss                   int64   // of the largest agent, bytes
	complete              int     // agents that hold the right bytes
}

func (r result) ratio(bound time.Duration) float64 { return float64(r.makespan) / float64(bound) }

// race brings the payload to all agents once.
func (f *field) race(ctx context.Context, way string) (result, error) {
	f.races++
	ctx, cancel := context.WithTimeout(ctx, raceTimeout)
	defer cancel()
	dir := filepath.Join(f.dir, fmt.Sprintf("race%d", f.races))
	defer os.RemoveAll(dir) //nolint:errcheck // the whole folder goes at the end
	node, err := f.start(ctx, f.node, dir, "node", way)
	if err != nil {
		return result{}, err
	}
	defer node.kill()
	var agents []*process
	for i, h := range f.agents {
		a, err := f.start(ctx, h, dir, fmt.Sprintf("agent-%d", i+1), way)
		if err != nil {
			return result{}, err
		}
		defer a.kill()
		agents = append(agents, a)
	}
	return f.finish(node, agents)
}

func (f *field) finish(node *process, agents []*process) (r result, err error) {
	_, before, err := f.node.Counters()
	if err != nil {
		return r, err
	}
	cpu, err := cpuOf(append(slices.Clone(agents), node))
	if err != nil {
		return r, err
	}
	start := time.Now()
	for _, a := range agents {
		if err := a.tell("go"); err != nil {
			return r, err
		}
	}
	done := make(chan struct{})
	defer close(done)
	if f.trace != nil {
		go f.trace.run(f, done)
	}
	times := make([]time.Duration, 0, len(agents))
	var wasted int64
	for _, a := range agents {
		m, err := a.hear("done")
		if err != nil {
			return r, err
		}
		times = append(times, m.At.Sub(start))
		wasted += m.Stats.Wasted + m.Stats.Corrupt
	}
	_, after, err := f.node.Counters()
	if err != nil {
		return r, err
	}
	spent, err := cpuOf(append(slices.Clone(agents), node))
	if err != nil {
		return r, err
	}
	if err := node.tell("report"); err != nil {
		return r, err
	}
	m, err := node.hear("report")
	if err != nil {
		return r, err
	}
	slices.Sort(times)
	size := float64(f.torrent.Length)
	r = result{
		makespan: times[len(times)-1], median: times[len(times)/2],
		nodePayload: float64(m.Stats.ToPeers) / size, nodeWire: float64(after-before) / size,
		waste: float64(wasted) / size / float64(len(agents)),
	}
	r.cpu = (spent - cpu).Seconds() / r.makespan.Seconds() / float64(runtime.NumCPU())
	for _, a := range agents {
		if f.holds(a) {
			r.complete++
		}
		r.rss = max(r.rss, a.peak())
	}
	return r, nil
}

// holds reports whether an agent has the payload, byte for byte.
func (f *field) holds(a *process) bool {
	in, err := os.Open(a.spec.data())
	if err != nil {
		return false
	}
	defer in.Close()
	sum := sha256.New()
	_, err = io.Copy(sum, in)
	return err == nil && bytes.Equal(sum.Sum(nil), f.sum[:])
}

// start runs one machine and waits until it is ready.
func (f *field) start(ctx context.Context, h *netlab.Host, dir, id, way string) (*process, error) {
	s := spec{
		ID: id, Way: way, Dir: filepath.Join(dir, id), Host: h.IP, Node: f.node.IP,
		Torrent: f.torrent, Payload: f.payload,
	}
	role := pki.RoleAgent
	if h == f.node {
		role = pki.RoleNode
	}
	if err := f.enrol(s.Dir, pki.Identity{ClusterID: "bench", Role: role, ID: id, Region: region}); err != nil {
		return nil, err
	}
	b, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(s.Dir, "spec.json")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := h.Command(ctx, self, "member", path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return launch(cmd, s)
}

func (f *field) enrol(dir string, id pki.Identity) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	key, err := pki.LoadOrCreateKey(filepath.Join(dir, pki.KeyFile))
	if err != nil {
		return err
	}
	csr, err := pki.NewCSR(key)
	if err != nil {
		return err
	}
	cert, err := f.ca.Sign(csr, id, 24*time.Hour, time.Now())
	if err != nil {
		return err
	}
	return pki.SaveCredentials(dir, cert, f.ca.CertificatePEM())
}
