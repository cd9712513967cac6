// Package row carries measured figures from a benchmark to make bench, which
// writes docs/benchmarks.md. A benchmark that runs by itself prints its own
// table and leaves none.
package row

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

// Env names the environment variable with the file that rows are added to.
const Env = "REDFLAG_BENCH_ROWS"

// Row is one measured figure.
type Row struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	// Unit follows the value: ×, %, ms. A plain ratio has none.
	Unit string `json:"unit,omitempty"`
	// Goal says what the value should be, for a reader: ≤ 1.15.
	Goal string `json:"goal,omitempty"`
}

// Add leaves a row for make bench, if that is who runs the benchmark.
func Add(name string, value float64, unit, goal string) (err error) {
	path := os.Getenv(Env)
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("leave a row: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return json.NewEncoder(f).Encode(Row{Name: name, Value: value, Unit: unit, Goal: goal})
}
