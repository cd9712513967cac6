package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"redflag/api"
)

// figures counts what happens.
type figures struct {
	mu sync.Mutex
	tally
}

// tally is what happened since the last window.
type tally struct {
	since    time.Time
	took     []time.Duration
	dialled  int
	resumed  int
	paced    int // polls that the node put off
	lost     int // answers that the profile loses
	errors   map[string]int
	busiest  map[int64]int // polls by second
	cpuStart time.Duration
}

// Window is the figures of one stretch of time.
type Window struct {
	Seconds    float64        `json:"seconds"`
	Polls      int            `json:"polls"`
	PerSecond  float64        `json:"per_second"`
	Busiest    int            `json:"busiest_second"`
	P50        float64        `json:"p50_ms"`
	P99        float64        `json:"p99_ms"`
	Max        float64        `json:"max_ms"`
	Slow       int            `json:"over_250_ms"` // polls
	Handshakes int            `json:"handshakes"`
	Resumed    int            `json:"resumed"`
	Paced      int            `json:"paced"`
	Lost       int            `json:"lost"`
	Errors     map[string]int `json:"errors"`
	// NodeCPU is the node's processor time per poll, in microseconds, and
	// NodeRSS its resident memory in bytes, now and at most.
	NodeCPU    float64 `json:"node_cpu_us_per_poll,omitempty"`
	NodeCores  float64 `json:"node_cores,omitempty"`
	NodeRSS    int64   `json:"node_rss,omitempty"`
	NodeMaxRSS int64   `json:"node_max_rss,omitempty"`
}

func (f *figures) begin(p *profile) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.resetLocked(p)
}

func (f *figures) resetLocked(p *profile) {
	f.tally = tally{since: time.Now(), took: f.took[:0], errors: map[string]int{}, busiest: map[int64]int{}, cpuStart: cpuOf(p.pid)}
}

func (f *figures) add(took time.Duration, seen exchange, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.busiest[time.Now().Unix()]++
	if seen.dialled {
		f.dialled++
	}
	if seen.resumed {
		f.resumed++
	}
	switch {
	case err == nil:
		f.took = append(f.took, took)
	case api.CodeOf(err) == api.CodeRateLimited:
		f.paced++
	case errors.Is(err, errLost), errors.Is(err, errOutage):
		f.lost++
	default:
		f.errors[kindOf(err)]++
	}
}

// kindOf names an error without what differs from one to the next.
func kindOf(err error) string {
	if e, ok := errors.AsType[*api.Error](err); ok {
		return string(e.Code) + ": " + e.Message
	}
	text := err.Error()
	if i := strings.LastIndex(text, ": "); i >= 0 {
		text = text[i+2:]
	}
	return text
}

// slow is how long a poll may take; windows that are added up have no common
// quantile, but a common count of those that took longer.
const slow = 250 * time.Millisecond

// window prints the figures since the last one.
func (f *figures) window(p *profile) {
	f.mu.Lock()
	defer f.mu.Unlock()
	slices.Sort(f.took)
	span := time.Since(f.since).Seconds()
	w := Window{
		Seconds: span, Polls: len(f.took), PerSecond: float64(len(f.took)) / span,
		P50: f.quantile(0.5), P99: f.quantile(0.99), Max: f.quantile(1),
		Handshakes: f.dialled, Resumed: f.resumed, Paced: f.paced, Lost: f.lost, Errors: f.errors,
	}
	for _, took := range f.took {
		if took > slow {
			w.Slow++
		}
	}
	for _, n := range f.busiest {
		w.Busiest = max(w.Busiest, n)
	}
	if p.pid > 0 {
		cpu := cpuOf(p.pid) - f.cpuStart
		w.NodeCPU = float64(cpu.Microseconds()) / float64(max(1, len(f.took)))
		w.NodeCores = cpu.Seconds() / span
		w.NodeRSS, w.NodeMaxRSS = memoryOf(p.pid, "VmRSS"), memoryOf(p.pid, "VmHWM")
	}
	p.print(w, w.String())
	f.resetLocked(p)
}

func (f *figures) quantile(q float64) float64 {
	if len(f.took) == 0 {
		return 0
	}
	return float64(f.took[min(len(f.took)-1, int(q*float64(len(f.took))))].Microseconds()) / 1000
}

// String is the window in one line.
func (w Window) String() string {
	s := fmt.Sprintf("%6.0f polls/s  p50 %.1f ms  p99 %.1f ms  max %.0f ms, %d over 250 ms  %d handshakes, %d resumed  %d paced, %d lost, errors %v",
		w.PerSecond, w.P50, w.P99, w.Max, w.Slow, w.Handshakes, w.Resumed, w.Paced, w.Lost, w.Errors)
	if w.NodeRSS > 0 {
		s += fmt.Sprintf("  node: %.0f µs/poll, %.2f cores, %d MiB, at most %d MiB", w.NodeCPU, w.NodeCores, w.NodeRSS>>20, w.NodeMaxRSS>>20)
	}
	return s
}

// clockTick is the unit of processor times in /proc, which Linux fixes for
// programs at a hundredth of a second.
const clockTick = 10 * time.Millisecond

// cpuOf is the processor time of a process, 0 where /proc does not say.
func cpuOf(pid int) time.Duration {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * clockTick
}

// memoryOf reads a line of /proc/PID/status, in bytes.
func memoryOf(pid int, key string) int64 {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), key+":")
	var kib int64
	_, _ = fmt.Sscan(rest, &kib)
	return kib << 10
}
