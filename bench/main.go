// Command bench runs every benchmark of RedFlag, one after the other, and writes
// what they measured to docs/benchmarks.json and, made from it, docs/benchmarks.md.
//
//	make bench
//	go run ./bench -only polls,binary
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"redflag/bench/row"
	"redflag/durable"
)

const (
	resultsFile = "docs/benchmarks.json"
	pageFile    = "docs/benchmarks.md"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// results is everything that one run of make bench measured, or several with
// -only, each with the machine that it ran on.
type results struct {
	Suites map[string]measured `json:"suites"`
}

// measured is what one suite measured.
type measured struct {
	Date    string    `json:"date"`
	Version string    `json:"version"`
	Machine string    `json:"machine"`
	Seconds float64   `json:"seconds"`
	Rows    []row.Row `json:"rows"`
}

func run(ctx context.Context, args []string) error {
	if len(args) == 2 && args[0] == "size" {
		return size(args[1])
	}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	only := f.String("only", "", "suites to run, comma separated; the figures of the others stay, as do those of long suites")
	if err := f.Parse(args); err != nil {
		return err
	}
	all, err := load(resultsFile)
	if err != nil {
		return err
	}
	version := output("git", "describe", "--tags", "--always", "--dirty") // the page changes with each suite
	var failed error
	for _, s := range suites {
		named := slices.Contains(strings.Split(*only, ","), s.id)
		if !named && (*only != "" || s.long) {
			continue
		}
		m, err := s.run(ctx, version)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", s.id, err))
			continue
		}
		all.Suites[s.id] = m
		if err := all.save(); err != nil { // what was measured is not lost with the next suite
			return err
		}
	}
	return failed
}

// size leaves a row with the size of a file.
func size(path string) error {
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	return row.Add("size", float64(st.Size())/(1<<20), "MiB", "")
}

func load(path string) (results, error) {
	r := results{Suites: map[string]measured{}}
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return r, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	return r, err
}

func (r results) save() error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := durable.WriteFile(resultsFile, append(b, '\n'), 0o644); err != nil {
		return err
	}
	return durable.WriteFile(pageFile, r.page(), 0o644)
}

// run runs a suite's command on a version and collects the rows that it leaves.
func (s suite) run(ctx context.Context, version string) (m measured, err error) {
	dir, err := os.MkdirTemp("", "redflag-bench-")
	if err != nil {
		return m, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // it is the system's folder for such
	rows := filepath.Join(dir, "rows")
	fmt.Fprintf(os.Stderr, "=== %s: %s\n", s.id, s.command)
	began := time.Now()
	cmd := exec.CommandContext(ctx, "sh", "-c", s.command)
	cmd.Env = append(os.Environ(), row.Env+"="+rows)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	if err := cmd.Run(); err != nil {
		return m, err
	}
	m = measured{
		Date: began.UTC().Format(time.DateOnly), Version: version,
		Machine: machine(), Seconds: time.Since(began).Seconds(),
	}
	if m.Rows, err = readRows(rows); err != nil {
		return m, err
	}
	return m, s.complete(m.Rows)
}

func readRows(path string) (out []row.Row, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for sc := bufio.NewScanner(bytes.NewReader(b)); sc.Scan(); {
		var r row.Row
		if err := json.Unmarshal(sc.Bytes(), &r); err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// complete refuses a run that measured something else than the page shows.
func (s suite) complete(rows []row.Row) error {
	var names []string
	for _, r := range rows {
		names = append(names, r.Name)
	}
	if !slices.Equal(names, s.rows) {
		return fmt.Errorf("it measured %q, not %q", names, s.rows)
	}
	return nil
}

// machine says what the figures were measured on.
func machine() string {
	model := "unknown processor"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if name, ok := strings.CutPrefix(line, "model name"); ok {
				model = strings.TrimSpace(strings.TrimLeft(name, "\t :"))
				break
			}
		}
	}
	return fmt.Sprintf("%d × %s, Linux %s, %s", runtime.NumCPU(), model, output("uname", "-r"), runtime.Version())
}

func output(name string, args ...string) string {
	out, err := exec.Command(name, args...).Output() //nolint:noctx // it ends at once
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
