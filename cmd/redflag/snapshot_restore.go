package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"redflag/api"
	"redflag/node"
)

func newSnapshotRestore() *cobra.Command {
	var dataDir, addr string
	var yes, force bool
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Make a stopped node a cluster of one with the state of a snapshot",
		Long: `Make a stopped node a cluster of one with the state of a snapshot.

It runs on the node's own machine, checks everything first, says what it would
do, and asks. Stop every node before: what happened after the snapshot is
undone, and the cluster begins a new epoch, so that agents drop what they
remember. All other nodes are removed and their keys revoked; they join again
with empty data directories. What the node has now is moved aside, not deleted.`,
		Example: `  redflag snapshot restore /backup/redflag.snapshot --data-dir /var/lib/redflag
  redflag snapshot restore /backup/redflag.snapshot --data-dir /var/lib/redflag --yes`,
		Args: exactArgs("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			bar := newBar(cmd.ErrOrStderr())
			r, err := node.PrepareRestore(cmd.Context(), dataDir, args[0], addr, func(done, total int64) { bar.update("checking", done, total) })
			bar.done()
			if err != nil {
				return err
			}
			return errors.Join(restoreSnapshot(cmd, r, yes, force), r.Close())
		},
	}
	f := cmd.Flags()
	f.StringVar(&dataDir, "data-dir", node.Defaults().DataDir, "data directory of the node")
	f.StringVar(&addr, "mesh-advertise", "", "host:port under which others will reach the node (default: as it last ran)")
	f.BoolVar(&yes, "yes", false, "do not ask")
	f.BoolVar(&force, "force", false, "also when something answers at another node's address")
	return cmd
}

func restoreSnapshot(cmd *cobra.Command, r *node.Restoring, yes, force bool) error {
	out := cmd.OutOrStdout()
	h := r.Snapshot.Header
	fmt.Fprintf(out, "snapshot   log index %d of cluster %s, written by %s at %s\n", h.Index, h.ClusterID, h.NodeID, h.WrittenAt.Format("2006-01-02 15:04:05 MST"))
	fmt.Fprintf(out, "node       %s at %s: the only voter of a new epoch\n", r.Node.ID, r.Node.MeshAddr)
	if r.Kept != "" {
		fmt.Fprintf(out, "set aside  the present state, in %s\n", r.Kept)
	}
	fmt.Fprintln(out, "undone     everything after the snapshot: rollouts, reports, enrolments, tokens, revocations, settings")
	for _, n := range r.Others {
		fmt.Fprintf(out, "removed    %s at %s: its key is revoked\n", n.ID, n.MeshAddr)
	}
	if len(r.Running) > 0 && !force {
		return api.Errorf(api.CodeConflict, "other nodes seem to run: something answers at %s", strings.Join(r.Running, ", ")).
			WithHint("nothing was changed; stop them, or pass --force if that is something else")
	}
	if !yes {
		var answer string
		fmt.Fprint(cmd.ErrOrStderr(), "Restore this? (yes/no) ")
		_, _ = fmt.Fscanln(cmd.InOrStdin(), &answer)
		if answer != "yes" {
			return api.Errorf(api.CodeDenied, "nothing was changed").WithHint("answer yes, or pass --yes")
		}
	}
	if err := r.Do(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\nrestored; start node %s now, and let the others join with empty data directories and new tokens:\n  redflag token create --kind node\n", r.Node.ID)
	return err
}
