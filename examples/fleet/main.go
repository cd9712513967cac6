// Command fleet is a fleet of light agents in one process, to see what a
// cluster bears before the real fleet comes. Each agent has a key, a
// certificate and a TLS session of its own, enrols, polls when the node says,
// takes commands, and reports on each exactly once. It installs nothing and
// keeps nothing on disk.
//
//	redflag token create --seats 10000
//	go run ./examples/fleet --node node1:7420 --token rf1.… --agents 10000 --for 5m
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "fleet:", err)
		}
		os.Exit(1)
	}
}

// profile is what the fleet is and how it behaves.
type profile struct {
	node, token string
	agents      int
	prefix      string
	region      string
	workers     int
	rate        int // enrolments per second
	total       time.Duration
	spread      time.Duration
	window      time.Duration
	pid         int
	json        bool

	keepAlive, resume bool
	loopback          bool // the node is on this machine

	work          time.Duration // how long an agent takes over a command
	fail, lose    float64       // percent
	latency       time.Duration
	outageAfter   time.Duration
	outageFor     time.Duration
	outageStarted time.Time

	believed believed
}

func (p *profile) parse(args []string) error {
	f := flag.NewFlagSet("fleet", flag.ContinueOnError)
	f.StringVar(&p.node, "node", "", "mesh address of the node that all agents poll")
	f.StringVar(&p.token, "token", os.Getenv("REDFLAG_TOKEN"), "registration token with a seat for each agent")
	f.IntVar(&p.agents, "agents", 1000, "how many agents")
	f.StringVar(&p.prefix, "prefix", "fleet", "agents are called PREFIX-1 and on")
	f.StringVar(&p.region, "region", "eu", "region of the agents")
	f.IntVar(&p.workers, "workers", 256, "exchanges at a time")
	f.IntVar(&p.rate, "enrol-rate", 150, "enrolments per second; the node's setting enrol.budget must allow it")
	f.DurationVar(&p.total, "for", time.Minute, "how long to poll after all are enrolled; 0 until interrupted")
	f.DurationVar(&p.spread, "spread", time.Minute, "over what time the polls are spread that begin the run, best the poll interval")
	f.DurationVar(&p.window, "every", 10*time.Second, "how often to print figures")
	f.IntVar(&p.pid, "pid", 0, "process of the node, if it runs on this machine: its processor time and memory are printed")
	f.BoolVar(&p.json, "json", false, "print a JSON object per line")
	f.BoolVar(&p.keepAlive, "keep-alive", true, "keep connections from poll to poll, unless the node closes them")
	f.BoolVar(&p.resume, "resume", true, "resume TLS sessions")
	f.DurationVar(&p.work, "work", 2*time.Second, "how long an agent takes over a command")
	f.Float64Var(&p.fail, "fail", 0, "percent of commands that fail")
	f.Float64Var(&p.lose, "lose", 0, "percent of answers that get lost on their way")
	f.DurationVar(&p.latency, "latency", 0, "how much later each request arrives")
	f.DurationVar(&p.outageAfter, "outage-after", 0, "when, after all are enrolled, the agents lose the node")
	f.DurationVar(&p.outageFor, "outage-for", 0, "for how long they lose it")
	f.Usage = func() {
		fmt.Fprintln(f.Output(), "Usage: fleet --node HOST:PORT --token rf1.… [flags]")
		f.PrintDefaults()
	}
	if err := f.Parse(args); err != nil {
		return err
	}
	if p.node == "" || p.token == "" || p.agents < 1 || p.workers < 1 || p.rate < 1 || p.window <= 0 || p.spread <= 0 {
		return errors.New("--node, --token and positive numbers are needed; see --help")
	}
	p.loopback = loopback(p.node)
	return nil
}

func run(ctx context.Context, args []string) error {
	p := &profile{}
	if err := p.parse(args); err != nil {
		return err
	}
	fl, err := newFleet(p)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := fl.enrol(ctx); err != nil {
		return err
	}
	p.print(map[string]any{"enrolled": p.agents, "seconds": time.Since(began).Seconds()},
		fmt.Sprintf("%d agents enrolled in %s", p.agents, time.Since(began).Round(time.Millisecond)))
	fl.meet(ctx)
	return fl.poll(ctx)
}

// print writes one line of figures for people or for programs.
func (p *profile) print(value any, text string) {
	if !p.json {
		fmt.Println(text)
		return
	}
	_ = json.NewEncoder(os.Stdout).Encode(value)
}
