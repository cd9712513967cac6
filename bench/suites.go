package main

import "fmt"

// suite is one benchmark: the command that runs it and the figures that it
// leaves, in their order.
type suite struct {
	id, title, about, command string
	rows                      []string
	long                      bool // it runs only if -only names it
}

var suites = []suite{
	{
		id: "swarm", title: "Swarm against the physical limit",
		about: "Agents in network namespaces with shaped links. T_min is what the links allow\n" +
			"(Kumar and Ross); plain HTTP from one server runs in the same field.",
		command: `make bench-swarm ARGS="-agents 16 -mib 64 -links even -runs 5"`,
		rows:    raceRows("even", 64, 16),
	},
	{
		id: "swarm-8", title: "A smaller swarm", long: true,
		about: "Links of 24 Mbit/s: eight agents leave the cores idle enough. On mixed links half\n" +
			"of the agents have a quarter of the uplink, so that uplinks are what there is too\n" +
			"little of.",
		command: `make bench-swarm ARGS="-agents 8 -mib 64 -links even,mixed -rate 24mbit -runs 5"`,
		rows:    append(raceRows("even", 64, 8), raceRows("mixed", 64, 8)...),
	},
	{
		id: "swarm-mixed", title: "The swarm on mixed links", long: true,
		about: "T_min has the node send all the time, which is more than the goal lets it give. The\n" +
			"rest is most likely what a full uplink holds up: slow agents ask and acknowledge by\n" +
			"the same narrow link that they give by, and end last.",
		command: `make bench-swarm ARGS="-agents 16 -mib 64 -links mixed -rate 12mbit -runs 5"`,
		rows:    raceRows("mixed", 64, 16),
	},
	{
		id: "swarm-32", title: "A larger swarm", long: true,
		about: "Links of 6 Mbit/s: 32 agents and their node share the cores of one machine, which\n" +
			"the measured time feels.",
		command: `make bench-swarm ARGS="-agents 32 -mib 64 -links even,mixed -rate 6mbit -runs 5"`,
		rows:    append(raceRows("even", 64, 32), raceRows("mixed", 64, 32)...),
	},
	{
		id: "swarm-8-large", title: "A smaller swarm, a payload four times as large", long: true,
		command: `make bench-swarm ARGS="-agents 8 -mib 256 -links even,mixed -rate 24mbit -runs 5"`,
		rows:    append(raceRows("even", 256, 8), raceRows("mixed", 256, 8)...),
	},
	{
		id: "swarm-16-large", title: "Sixteen agents, a payload four times as large", long: true,
		about:   "What a swarm needs to get going weighs less.",
		command: `make bench-swarm ARGS="-agents 16 -mib 256 -links even,mixed -rate 12mbit -runs 5"`,
		rows:    append(raceRows("even", 256, 16), raceRows("mixed", 256, 16)...),
	},
	{
		id: "swarm-32-large", title: "Thirty-two agents, a payload four times as large", long: true,
		about: "The node has more to make good: most likely agents on busy cores are late for each\n" +
			"other, and the plan sends what is late.",
		command: `make bench-swarm ARGS="-agents 32 -mib 256 -links even -rate 6mbit -runs 5"`,
		rows:    raceRows("even", 256, 32),
	},
	{
		id: "swarm-32-large-mixed", title: "The same with mixed links", long: true,
		command: `make bench-swarm ARGS="-agents 32 -mib 256 -links mixed -rate 6mbit -runs 5"`,
		rows:    raceRows("mixed", 256, 32),
	},
	{
		id: "sim", title: "A swarm past one machine, simulated",
		about: "10,000 agents in 20 regions on links from 0.75 to 48 Mbit/s, a tenth of which go\n" +
			"down once; the tracker and the plan are the product's. make sim-check holds the\n" +
			"simulation against swarms in network namespaces.",
		command: `make sim ARGS="-agents 10000"`,
		rows: []string{
			"makespan / T_min, 10000 agents, 20 regions, slowest region", "the same, without agents that went down",
			"WAN copies into the region with the most", "node upload / payload, at most", "announces in the busiest second of a node",
		},
	},
	{
		id: "wan", title: "Copies of a payload over a region's WAN",
		about:   "Three regions with six agents each, behind links of 20 Mbit/s; the payload is\npublished in one.",
		command: `go test -count=1 -run '^TestOneCopyCrossesTheWAN$' ./e2e`,
		rows: []string{
			"copies into the region with the most", "copies, its node killed while it fetches",
			"copies, its node killed when it has the whole", "copies, its node lost when it has the whole",
		},
	},
	{
		id: "caps", title: "Caps on the wire",
		about:   "Bytes at the interface, headers included, over any 5 s; the lowest and the highest\nof 1, 8 and 50 Mbit/s, up and down.",
		command: `go test -count=1 -run '^TestCapsHoldOnTheWire$' ./ratelimit`,
		rows:    []string{"lowest share of the cap", "highest share of the cap"},
	},
	{
		id: "polls", title: "Cost of a poll",
		about: "10,000 light agents (examples/fleet) poll a node of this machine at 1,667 polls a\n" +
			"second, as 100,000 do with an interval of a minute.",
		command: `REDFLAG_FLEET=polls make fleet`,
		rows: []string{
			"processor time of the node, connection kept", "agents per core at 60 s, connection kept",
			"processor time of the node, TLS session resumed", "agents per core at 60 s, TLS session resumed",
		},
	},
	{
		id: "fleet", title: "A hundred thousand agents on one node", long: true,
		about: "Each with a key and a TLS session of its own, polling every 60 s; node and fleet\n" +
			"share this machine. A time runs from the moment the poll is due.",
		command: `REDFLAG_FLEET=100000 make fleet`,
		rows: []string{
			"enrolments per second", "polls in two minutes, none with an error", "polls that took over 250 ms",
			"poll, worst second, p99", "node, most memory", "rollout to all of them", "polls during the rollout that took over 250 ms",
		},
	},
	{
		id: "consensus", title: "The replicated queue",
		about:   "Three nodes with fsync; raw hashicorp/raft has the same store and state machine and\nis fed the very entries that the queue made.",
		command: `make bench-consensus`,
		rows: []string{
			"raw Raft", "the queue, each report answered", "ratio to raw Raft fed the same batches", "time to an answer, p99",
			"100,000 polls answered, each lease committed", "longest apply stall", "state per agent, in the snapshot", "snapshot restored",
		},
	},
	{
		id: "failover", title: "Failover",
		about:   "The leader's process is killed under load, twenty times.",
		command: `go test -count=1 -run '^TestFailover$' ./consensus`,
		rows:    []string{"writes acknowledged meanwhile, each found again", "time to the next committed write, in election timeouts, median", "the same, at most"},
	},
	{
		id: "delta", title: "Deltas",
		about:   "From one Go toolchain to the next, as plain tar.",
		command: `make bench-delta`,
		rows:    []string{"redflag, of the new version", "zstd --patch-from, of the new version", "xdelta3 -9, of the new version", "memory to apply it"},
	},
	{
		id: "memory", title: "Memory", about: "Resident, of real processes.",
		command: `make bench-memory && REDFLAG_BINARY=$PWD/bin/redflag go test -count=1 -run '^TestIdleFootprint$' ./e2e`,
		rows:    []string{"agent that fetches 1024 MiB, peak", "node that serves it, peak", "idle node, without its binary", "idle agent, without its binary"},
	},
	{
		id: "binary", title: "Binary", about: "Node, agent and operator's tool in one static file.",
		command: `make build && go run ./bench size bin/redflag`,
		rows:    []string{"size"},
	},
}

// raceRows are the rows of make bench-swarm.
func raceRows(links string, mib int, agents ...int) (rows []string) {
	for _, n := range agents {
		rows = append(rows, fmt.Sprintf("makespan / T_min, %d agents, %d MiB, %s links, median", n, mib, links),
			"the same, worst run", "node upload / payload, median", "plain HTTP from one server: makespan / T_min")
	}
	return rows
}
