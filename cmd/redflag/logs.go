package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"redflag/api"
)

const (
	followRound = time.Second
	// followBack is how far behind the newest line a follower looks again: the
	// lines of other machines come later.
	followBack = 2 * time.Minute
)

type logPage struct {
	Items  []api.LogLine `json:"items"`
	Next   string        `json:"next"`
	Silent []string      `json:"silent"`
}

func newLogsCommand() *cobra.Command {
	var correlation, agent, node, since, until, grep, level string
	var follow bool
	cmd := &cobra.Command{
		Use:     "logs",
		GroupID: "steer",
		Short:   "Search the logs of all nodes and agents, in order of time",
		Long: `Search the logs of all nodes and agents, in order of time.

Agents hand in their lines when they poll, so the newest may be a poll interval
late. Every rollout prints the correlation id by which all of its lines are found.`,
		Example: `  redflag logs --correlation 4bf92f3577b34da6a3ce929d0e0e4736
  redflag logs --agent kiosk-17 --since 1h --grep "health gate" --follow`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := url.Values{"limit": {"1000"}}
			for name, v := range map[string]string{
				"correlation": correlation, "agent": agent, "node": node, "since": since, "until": until, "grep": grep, "level": level,
			} {
				if v != "" {
					q.Set(name, v)
				}
			}
			client, err := connect(cmd)
			if err != nil {
				return err
			}
			return (&logPrinter{cmd: cmd, client: client, seen: map[string]time.Time{}}).run(q, follow)
		},
	}
	addClientFlags(cmd)
	addJSONFlag(cmd)
	f := cmd.Flags()
	f.StringVar(&correlation, "correlation", "", "lines of one request, from the operator's command to the last agent")
	f.StringVar(&agent, "agent", "", "lines of this agent")
	f.StringVar(&node, "node", "", "lines of this node")
	f.StringVar(&since, "since", "", "lines from then on: 1h, or 2026-01-31T08:00:00Z")
	f.StringVar(&until, "until", "", "lines before then")
	f.StringVar(&grep, "grep", "", "lines with these words, in this order")
	f.StringVar(&level, "level", "", "lines of this level or worse: debug, info, warn or error")
	f.BoolVar(&follow, "follow", false, "stay and print lines as they come in")
	return cmd
}

// logPrinter prints each line once.
type logPrinter struct {
	cmd    *cobra.Command
	client *api.Client
	seen   map[string]time.Time
	newest time.Time
	warned bool
}

func (p *logPrinter) run(q url.Values, follow bool) error {
	for {
		if err := p.pages(q); err != nil {
			return err
		}
		if !follow {
			return nil
		}
		if !p.newest.IsZero() {
			from := p.newest.Add(-followBack)
			q.Set("since", from.Format(time.RFC3339Nano))
			maps.DeleteFunc(p.seen, func(_ string, at time.Time) bool { return at.Before(from) })
		}
		select {
		case <-p.cmd.Context().Done():
			return nil
		case <-time.After(followRound):
		}
	}
}

// pages prints everything that matches now.
func (p *logPrinter) pages(q url.Values) error {
	q = maps.Clone(q)
	for {
		var page logPage
		if err := p.client.Do(p.cmd.Context(), http.MethodGet, "/v1/logs?"+q.Encode(), nil, &page); err != nil {
			return err
		}
		if len(page.Silent) > 0 && !p.warned {
			p.warned = true
			fmt.Fprintf(os.Stderr, "redflag: no answer from %s: their lines may be missing\n", strings.Join(page.Silent, ", "))
		}
		for _, l := range page.Items {
			key := fmt.Sprint(l.Source, " ", l.Spool, " ", l.Seq)
			if _, again := p.seen[key]; again {
				continue
			}
			p.seen[key] = l.At
			if l.At.After(p.newest) {
				p.newest = l.At
			}
			if err := p.print(l); err != nil {
				return err
			}
		}
		if page.Next == "" {
			return nil
		}
		q.Set("after", page.Next)
	}
}

func (p *logPrinter) print(l api.LogLine) error {
	out := p.cmd.OutOrStdout()
	if wantsJSON(p.cmd) {
		b, err := json.Marshal(l)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(out, "%s\n", b)
		return err
	}
	return printLine(out, l)
}

// printLine renders "time level source component: message key=value…".
func printLine(out io.Writer, l api.LogLine) error {
	var fields map[string]any
	if json.Unmarshal(l.Line, &fields) != nil {
		fields = map[string]any{"@message": string(l.Line)}
	}
	take := func(key string) string {
		v, ok := fields[key]
		delete(fields, key)
		if !ok {
			return "-"
		}
		return fmt.Sprint(v)
	}
	level, component, message := take("@level"), take("@module"), take("@message")
	delete(fields, "@timestamp")
	var rest strings.Builder
	for _, k := range slices.Sorted(maps.Keys(fields)) {
		if k == "agent" && fields[k] == l.Source || k == "node" && fields[k] == l.Source {
			continue
		}
		fmt.Fprintf(&rest, " %s=%v", k, plain(fields[k]))
	}
	_, err := fmt.Fprintf(out, "%s %-5s %s %s: %s%s\n", l.At.Format("2006-01-02T15:04:05.000Z07:00"), level, l.Source, component, plain(message), rest.String())
	return err
}

// plain keeps what a machine wrote from steering the operator's terminal.
func plain(v any) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, fmt.Sprint(v))
}
