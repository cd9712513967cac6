package main

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"redflag/api"
)

func newAgentsShow() *cobra.Command {
	var packages bool
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show one agent: its readiness, what is installed and what its last scan found",
		Example: `  redflag agents show kiosk-17
  redflag agents show kiosk-17 --packages`,
		Args: exactArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := connect(cmd)
			if err != nil {
				return err
			}
			return showAgent(cmd, client, args[0], packages)
		},
	}
	cmd.Flags().BoolVar(&packages, "packages", false, "list the outdated packages of the operating system")
	return cmd
}

func showAgent(cmd *cobra.Command, client *api.Client, id string, packages bool) error {
	var a api.Agent
	if err := client.Do(cmd.Context(), http.MethodGet, "/v1/agents/"+url.PathEscape(id), nil, &a); err != nil {
		return err
	}
	if wantsJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), a)
	}
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(cmd.OutOrStdout(), "%-14s %s\n", name, plain(value))
		}
	}
	line("agent", a.ID+" in "+a.Region)
	line("labels", labelText(a.Labels))
	if own := ownLabels(a); own != "" {
		line("own labels", own)
	}
	line("enrolled", a.EnrolledAt.Format(time.RFC3339))
	if !a.RevokedAt.IsZero() {
		line("revoked", a.RevokedAt.Format(time.RFC3339))
	}
	showPresence(a.Presence, line)
	return showInventory(cmd, a.ID, a.Inventory, packages, line)
}

// ownLabels says by which labels the machine judges what was signed for it, where
// those are not the cluster's.
func ownLabels(a api.Agent) string {
	if a.Presence == nil || maps.Equal(a.Labels, a.Presence.Machine.Labels) {
		return ""
	}
	return orDash(labelText(a.Presence.Machine.Labels)) + " (signed constraints go by these; change them there: redflag agent label)"
}

func showPresence(p *api.Presence, line func(name, value string)) {
	if p == nil {
		line("activity", "silent: no node has heard of it since it started")
		return
	}
	line("activity", string(p.Activity)+", "+ago(p.LastPoll)+" via "+p.Node)
	line("version", p.Version)
	for _, i := range p.Installed {
		text := i.Name + " " + i.Version
		if i.Previous != "" {
			text += " (before: " + i.Previous + ")"
		}
		line("installed", text)
	}
	for _, w := range p.Waiting {
		line("waiting", w.CommandID+": "+w.Reason)
	}
	showReadiness(p.Readiness, line)
}

func showReadiness(r *api.Readiness, line func(name, value string)) {
	if r == nil {
		return
	}
	if r.DiskFree != nil && r.DiskTotal != nil {
		line("disk", api.Bytes(*r.DiskFree).String()+" free of "+api.Bytes(*r.DiskTotal).String())
	}
	if r.LoadPercent != nil {
		line("load", strconv.Itoa(*r.LoadPercent)+"% per CPU")
	}
	battery := ""
	if r.Battery != nil {
		battery = ", battery " + strconv.Itoa(*r.Battery) + "%"
	}
	line("power", either(r.OnBattery, "battery", "mains")+battery)
	line("package lock", either(r.PackageLock, "held", "free"))
	line("reboot", either(r.RebootPending, "pending", "not needed"))
	line("link", either(r.Metered, "metered", "not metered"))
	if r.WindowOpen != nil {
		line("own window", either(r.WindowOpen, "open", "shut"))
	}
	for _, b := range r.Blocked {
		line("blocked", b.Gate+": "+b.Reason)
	}
	line("degraded", r.Degraded)
}

// either renders a fact that may be unknown.
func either(v *bool, yes, no string) string {
	switch {
	case v == nil:
		return "unknown"
	case *v:
		return yes
	default:
		return no
	}
}

// notReady names what speaks against working on a machine.
func notReady(r *api.Readiness) []string {
	all := r.Conditions()
	for i := range all {
		all[i] = strings.ReplaceAll(all[i], "_", " ")
	}
	return all[min(1, len(all)):] // the first says that it reports at all
}

func showInventory(cmd *cobra.Command, id string, inv *api.Inventory, packages bool, line func(name, value string)) error {
	if inv == nil {
		line("scan", "none yet; redflag rollout create --kind scan --to agent:"+id)
		return nil
	}
	line("system", strings.Join(strings.Fields(inv.OS.Name+" ("+inv.OS.ID+" "+inv.OS.Version+") "+inv.OS.Kernel+" "+inv.OS.Arch), " "))
	line("scanned", ago(inv.At))
	if inv.Manager == "" {
		line("packages", "no package manager that this version knows")
		return nil
	}
	text := fmt.Sprintf("%d outdated, %d of them security, by %s", inv.Pending, inv.Security, inv.Manager)
	if !inv.Refreshed.IsZero() {
		text += ", whose lists are of " + ago(inv.Refreshed)
	}
	line("packages", text)
	line("problem", inv.Problem)
	if !packages {
		return nil
	}
	rows := make([][]string, 0, len(inv.Updates))
	for _, u := range inv.Updates {
		rows = append(rows, []string{u.Name, orDash(u.Installed), u.Candidate, yesOrDash(u.Security)})
	}
	return printTable(cmd.OutOrStdout(), "Nothing is outdated.", []string{"PACKAGE", "INSTALLED", "CANDIDATE", "SECURITY"}, rows)
}

func yesOrDash(v bool) string {
	if v {
		return "yes"
	}
	return "-"
}
