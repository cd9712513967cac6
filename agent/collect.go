package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"redflag/agent/process"
	"redflag/api"
)

const (
	// maxPart bounds one part of what is collected, and collectLine the piece of it
	// that one line of the log carries, in bytes.
	maxPart     = 64 << 10
	collectLine = 4 << 10
	// journalLines is how much of the service's own log is collected.
	journalLines   = "200"
	collectTimeout = 15 * time.Second
	// serviceUnit is what packages call the agent's unit.
	serviceUnit = "redflag-agent"
)

// collectLogs writes what helps to find out about this agent into its log, from where
// it goes to the nodes' log stores under the command's correlation id. It is about the
// agent alone: what other programs of the machine log may hold anybody's secrets.
func (e *executor) collectLogs(ctx context.Context, log hclog.Logger, en *entry) error {
	e.phase(api.PhaseRunning)
	var names []string
	total := 0
	for _, part := range []struct {
		name string
		text func(context.Context) string
	}{
		{"process", e.processPart},
		{"readiness", e.readinessPart},
		{"journal", e.journalPart},
		{"artifacts", e.artifactsPart},
		{"service_log", serviceLog},
	} {
		text := part.text(ctx)
		text = strings.ToValidUTF8(text[max(0, len(text)-maxPart):], "")
		total += len(text)
		names = append(names, part.name)
		for i, piece := range pieces(text, collectLine) {
			log.Info("diagnostics", "part", part.name, "piece", i+1, "text", piece)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	en.Log = &api.ExecutionLog{Stdout: fmt.Sprintf("%s of %s; read them with: redflag logs --correlation %s",
		api.Bytes(total), strings.Join(names, ", "), en.Command.CorrelationID)}
	return nil
}

// pieces cuts text at ends of lines, or where a line is longer than size.
func pieces(text string, size int) []string {
	var out []string
	for len(text) > size {
		at := strings.LastIndexByte(text[:size], '\n') + 1
		if at == 0 {
			at = size
		}
		out, text = append(out, text[:at]), text[at:]
	}
	return append(out, text)
}

func (e *executor) processPart(context.Context) string {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return fmt.Sprintf("%s/%s %s, started %s, %d goroutines, heap %s of %s from the system, %d collections",
		runtime.GOOS, runtime.GOARCH, runtime.Version(), processStart.UTC().Format(time.RFC3339),
		runtime.NumGoroutine(), api.Bytes(m.HeapAlloc), api.Bytes(m.Sys), m.NumGC)
}

var processStart = time.Now()

func (e *executor) readinessPart(context.Context) string { return asText(e.readiness()) }

func (e *executor) journalPart(context.Context) string {
	held, err := e.journal.held()
	if err != nil {
		return err.Error()
	}
	waiting, err := e.journal.outbox(api.MaxReports)
	if err != nil {
		return err.Error()
	}
	return asText(map[string]any{"commands_held": held, "reports_waiting": len(waiting)})
}

func (e *executor) artifactsPart(context.Context) string {
	installed, err := e.versions.Installed()
	if err != nil {
		return err.Error()
	}
	return asText(installed)
}

func asText(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// serviceLog is the end of what systemd has kept of the agent's output: also of
// earlier lives, which may have ended before they could hand anything in.
func serviceLog(ctx context.Context) string {
	if _, err := exec.LookPath("journalctl"); err != nil {
		return "there is no journalctl on this machine"
	}
	out := &process.Tail{Keep: maxPart}
	err := process.Run(ctx, process.Command{
		Argv:    []string{"journalctl", "--no-pager", "--quiet", "--lines", journalLines, "--unit", serviceUnit},
		Timeout: collectTimeout, Out: out,
	})
	if err != nil {
		return fmt.Sprintf("%v\n%s", err, out.String())
	}
	return out.String()
}
