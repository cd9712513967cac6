package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"redflag/api"
)

// barWidth is the number of cells of a progress bar.
const barWidth = 30

// bar shows one long step after the other: a moving bar on a terminal, a line
// at the start and the end of each step elsewhere.
type bar struct {
	out   io.Writer
	live  bool
	step  string
	last  time.Time
	start time.Time
}

func newBar(out io.Writer) *bar {
	f, ok := out.(*os.File)
	return &bar{out: out, live: ok && isTerminal(f)}
}

func (b *bar) update(step string, done, total int64) {
	now := time.Now()
	fresh, complete := step != b.step, done >= total
	if fresh {
		b.step, b.start = step, now
	}
	if !b.live {
		if fresh && !complete {
			fmt.Fprintf(b.out, "%s: started\n", step)
		}
		if complete {
			fmt.Fprintf(b.out, "%s: done in %s\n", step, now.Sub(b.start).Round(time.Millisecond))
			b.step = ""
		}
		return
	}
	if !fresh && !complete && now.Sub(b.last) < 100*time.Millisecond {
		return
	}
	b.last = now
	fmt.Fprintf(b.out, "\r\x1b[K%-8s %s %s", step, cells(done, total), share(done, total))
	if complete {
		fmt.Fprintln(b.out)
		b.step = ""
	}
}

// done ends a bar that was interrupted, so that what follows has its own line.
func (b *bar) done() {
	if b.live && b.step != "" {
		fmt.Fprintln(b.out)
	}
}

func cells(done, total int64) string {
	n := 0
	if total > 0 {
		n = int(min(done, total) * barWidth / total)
	}
	return "[" + strings.Repeat("#", n) + strings.Repeat(".", barWidth-n) + "]"
}

func share(done, total int64) string {
	if total <= 1 {
		return ""
	}
	return fmt.Sprintf("%3d%%  %s of %s", min(done, total)*100/total, api.Bytes(done), api.Bytes(total))
}
