package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"text/tabwriter"

	"redflag/api"
	"redflag/bench/row"
)

// compare simulates what swarmbench measured with links of rate, whose rows are in
// a file, and prints both side by side.
func compare(ctx context.Context, file string, rate api.Rate) error {
	in, err := os.Open(file)
	if err != nil {
		return err
	}
	defer in.Close()
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "agents\tMiB\tlinks\tratio measured\tsimulated\terror %\tnode/F measured\tsimulated\terror %\t")
	var out outcome
	cases := 0
	for sc := bufio.NewScanner(in); sc.Scan(); {
		var r row.Row
		if err := json.Unmarshal(sc.Bytes(), &r); err != nil {
			return err
		}
		var agents int
		var mib int64
		var links string
		if n, _ := fmt.Sscanf(r.Name, "makespan / T_min, %d agents, %d MiB, %s links, median", &agents, &mib, &links); n == 3 {
			if out, err = simulated(agents, mib<<20, links, rate).simulate(ctx); err != nil {
				return err
			}
			cases++
			fmt.Fprintf(w, "%d\t%d\t%s\t%.3f\t%.3f\t%+.1f\t", agents, mib, links, r.Value, out.ratio(), 100*(out.ratio()/r.Value-1))
		}
		if r.Name == "node upload / payload, median" && cases > 0 {
			fmt.Fprintf(w, "%.2f\t%.2f\t%+.1f\t\n", r.Value, out.NodeUp, 100*(out.NodeUp/r.Value-1))
		}
	}
	if cases == 0 {
		return errors.New(file + " has no measured swarm; see make sim-check")
	}
	return w.Flush()
}

// simulated is the field of swarmbench.
func simulated(agents int, size int64, links string, rate api.Rate) *world {
	return &world{Agents: agents, Regions: 1, Size: size, Links: links, Rate: rate, NodeRate: 2 * rate, Seed: 1}
}
