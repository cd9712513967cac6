package main

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
)

const preface = `# Benchmarks

Made by ` + "`make bench`" + ` from ` + "`benchmarks.json`" + `; no figure here is typed. Ratios of things
measured in one run count; single times and rates are this machine's, whose
cores the fleet, the nodes and the benchmark share.
`

// page writes the results as a document.
func (r results) page() []byte {
	var b bytes.Buffer
	b.WriteString(preface)
	for _, s := range suites {
		m, ok := r.Suites[s.id]
		fmt.Fprintf(&b, "\n## %s\n\n", s.title)
		if s.about != "" {
			fmt.Fprintf(&b, "%s\n\n", s.about)
		}
		fmt.Fprintf(&b, "    %s\n", s.command)
		if s.long {
			fmt.Fprintf(&b, "    go run ./bench -only %s     # too long for make bench\n", s.id)
		}
		b.WriteString("\n")
		if !ok {
			b.WriteString("Not measured yet.\n")
			continue
		}
		fmt.Fprintf(&b, "%s, %s, version %s, %.0f s.\n\n| what | measured | goal |\n|---|---:|---|\n", m.Date, m.Machine, m.Version, m.Seconds)
		for _, row := range m.Rows {
			fmt.Fprintf(&b, "| %s | %s%s | %s |\n", row.Name, number(row.Value), unit(row.Unit), row.Goal)
		}
	}
	return b.Bytes()
}

// number writes a value with three digits that matter, and whole numbers whole.
func number(v float64) string {
	if v == math.Trunc(v) || math.Abs(v) >= 1000 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

func unit(u string) string {
	if u == "" || u == "%" {
		return u
	}
	return " " + u
}
