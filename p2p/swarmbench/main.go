//go:build linux

// Command swarmbench measures how close a swarm comes to the physical limit.
// It builds a network of namespaces with shaped links, runs one process per
// machine in it with the real swarm, and prints the makespan against the
// fluid bound, what the node had to send, and plain HTTP beside it.
//
// It must never be needed to run a mesh.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"redflag/api"
	"redflag/bench/row"
	"redflag/netlab"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "swarmbench:", err)
		os.Exit(1)
	}
}

// options is the matrix to measure.
type options struct {
	agents []int
	sizes  []int64 // bytes
	mixes  []string
	runs   int
	up     api.Rate
	http   bool
	trace  bool
	dir    string
}

func run(ctx context.Context, args []string) error {
	if len(args) == 2 && args[0] == "member" {
		return member(ctx, args[1])
	}
	o, err := parse(args)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "way\tagents\tMiB\tlinks\trun\tT_min s\tmakespan s\tratio\tpayload ratio\tmedian agent\tnode/F\tnode wire/F\twaste %\tcpu %\tmax RSS MiB\tcomplete\t")
	for _, mix := range o.mixes {
		for _, n := range o.agents {
			for _, size := range o.sizes {
				if err := o.measure(ctx, w, mix, n, size); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func parse(args []string) (o options, err error) {
	f := flag.NewFlagSet("swarmbench", flag.ContinueOnError)
	agents := f.String("agents", "8,16", "numbers of agents, comma separated")
	sizes := f.String("mib", "64", "payload sizes in MiB")
	mixes := f.String("links", "even,mixed", "even: all agents alike; mixed: half of them with a quarter of the uplink")
	up := f.String("rate", "8mbit", "link of an agent, each way; the node has twice that. The cores must not be what is measured: see cpu %")
	f.IntVar(&o.runs, "runs", 5, "runs of each case")
	f.BoolVar(&o.http, "http", true, "also measure plain HTTP from one server")
	f.BoolVar(&o.trace, "trace", false, "print each second how far the uplinks are used")
	f.StringVar(&o.dir, "dir", "", "where to work; default a temporary folder")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.mixes = strings.Split(*mixes, ",")
	if o.up, err = api.ParseRate(*up); err != nil {
		return o, err
	}
	for s := range strings.SplitSeq(*agents, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > 200 {
			return o, fmt.Errorf("%q is not a number of agents", s)
		}
		o.agents = append(o.agents, n)
	}
	for s := range strings.SplitSeq(*sizes, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return o, fmt.Errorf("%q is not a size in MiB", s)
		}
		o.sizes = append(o.sizes, int64(n)<<20)
	}
	return o, nil
}

// links returns the link of the node and those of the agents.
func (o options) links(mix string, n int) (node netlab.Link, agents []netlab.Link, err error) {
	node = netlab.Link{Up: 2 * o.up, Down: 2 * o.up}
	for i := range n {
		l := netlab.Link{Up: o.up, Down: o.up}
		switch {
		case mix == "mixed" && i%2 == 1:
			l.Up /= 4
		case mix != "mixed" && mix != "even":
			return node, nil, fmt.Errorf("links %q: want even or mixed", mix)
		}
		agents = append(agents, l)
	}
	return node, agents, nil
}

func (o options) measure(ctx context.Context, w *tabwriter.Writer, mix string, n int, size int64) error {
	ratios, uploads, err := o.races(ctx, w, waySwarm, mix, n, size, o.runs)
	if err != nil {
		return err
	}
	var plain []float64
	if o.http {
		// One server is the same every time, and with every size.
		if plain, _, err = o.races(ctx, w, wayHTTP, mix, n, min(size, plainSize), 1); err != nil {
			return err
		}
	}
	slices.Sort(ratios)
	slices.Sort(uploads)
	if err := leaveRows(mix, n, size, ratios, uploads, plain); err != nil {
		return err
	}
	fmt.Fprintf(w, "%d agents, %d MiB, %s links: makespan/T_min median %.3f, worst %.3f; node/F median %.2f, worst %.2f\n",
		n, size>>20, mix, ratios[len(ratios)/2], ratios[len(ratios)-1], uploads[len(uploads)/2], uploads[len(uploads)-1])
	return w.Flush()
}

// plainSize is what one server gives by plain HTTP at most, in bytes: it takes
// eight times as long as the swarm, and its ratio does not hang on the size.
const plainSize = 8 << 20

// races runs one case a few times, a row for each.
func (o options) races(ctx context.Context, w *tabwriter.Writer, way, mix string, n int, size int64, runs int) (ratios, uploads []float64, err error) {
	node, agents, err := o.links(mix, n)
	if err != nil {
		return nil, nil, err
	}
	f, err := newField(o.dir, node, agents, size)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	if o.trace {
		f.trace = &trace{node: node, agents: agents}
	}
	for i := range runs {
		r, err := f.race(ctx, way)
		if err != nil {
			return nil, nil, err
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%d\t%.1f\t%.1f\t%.3f\t%.3f\t%.3f\t%.2f\t%.2f\t%.1f\t%.0f\t%d\t%d/%d\t\n",
			way, n, size>>20, mix, i+1, f.bound.Seconds(), r.makespan.Seconds(), r.ratio(f.bound), r.ratio(f.bound)*framing,
			float64(r.median)/float64(f.bound), r.nodePayload, r.nodeWire, r.waste*100, r.cpu*100, r.rss>>20, r.complete, n)
		_ = w.Flush()
		if r.complete < n {
			return nil, nil, fmt.Errorf("%d of %d agents are complete", r.complete, n)
		}
		ratios, uploads = append(ratios, r.ratio(f.bound)), append(uploads, r.nodePayload)
	}
	return ratios, uploads, nil
}

// leaveRows leaves the figures of a case for make bench.
func leaveRows(mix string, n int, size int64, ratios, uploads, plain []float64) error {
	what := fmt.Sprintf("makespan / T_min, %d agents, %d MiB, %s links, median", n, size>>20, mix)
	err := errors.Join(
		row.Add(what, ratios[len(ratios)/2], "", "≤ 1.15"),
		row.Add("the same, worst run", ratios[len(ratios)-1], "", "≤ 1.25"),
		row.Add("node upload / payload, median", uploads[len(uploads)/2], "", "≤ 1.3"),
	)
	for _, ratio := range plain {
		err = errors.Join(err, row.Add("plain HTTP from one server: makespan / T_min", ratio, "", ""))
	}
	return err
}
