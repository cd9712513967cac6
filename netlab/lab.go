//go:build linux

package netlab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"time"

	"redflag/api"
)

// ErrUnavailable says why no lab can be built here.
var ErrUnavailable = errors.New("network namespaces need root and the ip and tc commands")

// Link is the rate of a cable in each direction, seen from the host or the
// switch that hangs on it. Rates count whole Ethernet frames.
type Link struct{ Up, Down api.Rate }

// Lab is one network. The methods are for one goroutine.
type Lab struct {
	name  string // of the namespace that holds the switches
	hosts []*Host
	ports int
}

// made tells the labs of one process apart.
var made atomic.Int32

// New returns an empty network. The caller closes it.
func New() (*Lab, error) {
	for _, tool := range []string{"ip", "tc"} {
		if _, err := exec.LookPath(tool); err != nil || os.Geteuid() != 0 {
			return nil, ErrUnavailable
		}
	}
	l := &Lab{name: fmt.Sprintf("rf%d-%d", os.Getpid(), made.Add(1))}
	if err := run("ip", "netns", "add", l.name); err != nil {
		return nil, errors.Join(ErrUnavailable, err)
	}
	return l, nil
}

// Close takes the network down. Processes in it lose their links.
func (l *Lab) Close() error {
	var errs []error
	for _, h := range l.hosts {
		errs = append(errs, run("ip", "netns", "del", h.NS))
	}
	return errors.Join(append(errs, run("ip", "netns", "del", l.name))...)
}

// Switch joins hosts and other switches.
type Switch struct {
	lab  *Lab
	name string
}

// Switch returns a new switch. With a parent, a cable of the rates of link
// joins the two.
func (l *Lab) Switch(parent *Switch, link Link) (*Switch, error) {
	l.ports++
	s := &Switch{lab: l, name: fmt.Sprintf("br%d", l.ports)}
	steps := [][]string{
		{"link", "add", s.name, "type", "bridge"},
		{"link", "set", s.name, "up"},
	}
	up, down := s.name+"u", s.name+"d"
	if parent != nil {
		steps = append(steps,
			[]string{"link", "add", up, "type", "veth", "peer", "name", down},
			[]string{"link", "set", up, "master", s.name, "up"},
			[]string{"link", "set", down, "master", parent.name, "up"})
	}
	for _, step := range steps {
		if err := run("ip", append([]string{"-n", l.name}, step...)...); err != nil {
			return nil, err
		}
	}
	if parent == nil {
		return s, nil
	}
	return s, errors.Join(shape(l.name, up, link.Up), shape(l.name, down, link.Down))
}

// Host is a machine: a namespace with one interface, eth0.
type Host struct {
	NS   string // of the namespace
	IP   string
	lab  *Lab
	port string // the other end of its cable
}

// Host plugs a new machine into s.
func (s *Switch) Host(link Link) (*Host, error) {
	l := s.lab
	n := len(l.hosts) + 1
	h := &Host{
		NS: fmt.Sprintf("%s-h%d", l.name, n), IP: fmt.Sprintf("10.77.%d.%d", n/200, n%200+1),
		lab: l, port: fmt.Sprintf("p%d", n),
	}
	if err := run("ip", "netns", "add", h.NS); err != nil {
		return nil, err
	}
	l.hosts = append(l.hosts, h)
	for _, step := range [][]string{
		{"-n", l.name, "link", "add", h.port, "type", "veth", "peer", "name", "eth0", "netns", h.NS},
		{"-n", l.name, "link", "set", h.port, "master", s.name, "up"},
		{"-n", h.NS, "link", "set", "lo", "up"},
		{"-n", h.NS, "addr", "add", h.IP + "/16", "dev", "eth0"},
		{"-n", h.NS, "link", "set", "eth0", "up"},
	} {
		if err := run("ip", step...); err != nil {
			return nil, err
		}
	}
	return h, h.Shape(link)
}

// Shape gives the host's cable other rates.
func (h *Host) Shape(link Link) error {
	return errors.Join(shape(h.NS, "eth0", link.Up), shape(h.lab.name, h.port, link.Down))
}

// Cut pulls the host's cable out of the switch, or plugs it in again.
func (h *Host) Cut(cut bool) error { return plug(h.lab.name, h.port, !cut) }

// Cut pulls the cable to the switch's parent, or plugs it in again.
func (s *Switch) Cut(cut bool) error { return plug(s.lab.name, s.name+"u", !cut) }

func plug(ns, port string, in bool) error {
	state := "down"
	if in {
		state = "up"
	}
	return run("ip", "-n", ns, "link", "set", port, state)
}

// shape bounds what an interface sends. The bucket is small, and the queue
// holds 50 ms as that of a home router does.
func shape(ns, dev string, r api.Rate) error {
	if r == api.Unlimited {
		return nil
	}
	burst := max(16<<10, min(bucketSize, int64(r.BytesPerSecond()*bucketTime.Seconds())), int64(r)/8/timerRate)
	return run("tc", "-n", ns, "qdisc", "replace", "dev", dev, "root",
		"tbf", "rate", fmt.Sprintf("%dbit", int64(r)), "burst", fmt.Sprint(burst), "latency", "50ms")
}

// A bucket is as large as what a sender hands to its network card in one piece
// (64 KiB), as far as the link carries that within bucketTime: what is larger
// than the bucket the kernel takes to pieces, and wakes up to send each.
const (
	bucketSize = 64 << 10 // bytes
	bucketTime = 50 * time.Millisecond
)

// timerRate is how often a second a slow kernel looks at its queues. A bucket
// that empties in between never reaches its rate.
const timerRate = 250

func run(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput() //nolint:noctx // these end at once
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
