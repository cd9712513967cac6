package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"redflag/api"
	"redflag/consensus"
	"redflag/consensus/state"
	"redflag/durable"
	"redflag/node"
)

func newSnapshotCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "snapshot",
		GroupID: "steer",
		Short:   "Save, look at and restore the whole replicated state",
		Long: `Save, look at and restore the whole replicated state.

A snapshot holds what every node has: nodes, agents, tokens, artifacts, signed
metadata, rollouts, commands, settings, operators and the audit log. It does not
hold payloads, the archive of commands that the state has forgotten, nor logs:
those stay in each node's data directory. Its keys are sealed: restoring needs
the folder identity of a node of the same cluster.`,
		Example: "  redflag snapshot save /backup/redflag.snapshot && redflag snapshot inspect /backup/redflag.snapshot",
	}
	cmd.AddCommand(newSnapshotSave(), newSnapshotInspect(), newSnapshotRestore())
	return cmd
}

func newSnapshotSave() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "save FILE",
		Short: "Save the state of a running node (admins only)",
		Long: `Save the state of a running node.

Any node will do, also one that sees no leader. FILE is replaced only by a whole
snapshot whose every byte was checked. Only its owner can read it: it holds the
hashes of all tokens.`,
		Example: "  redflag snapshot save /backup/redflag.snapshot",
		Args:    exactArgs("FILE"),
		RunE:    func(cmd *cobra.Command, args []string) error { return saveSnapshot(cmd, args[0]) },
	}
	addClientFlags(cmd)
	addJSONFlag(cmd)
	return cmd
}

func saveSnapshot(cmd *cobra.Command, path string) (err error) {
	client, err := connect(cmd)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return fmt.Errorf("save snapshot: %w", err)
	}
	defer func() {
		_ = tmp.Close()
		if err != nil {
			_ = os.Remove(tmp.Name())
		}
	}()
	bar := newBar(cmd.ErrOrStderr())
	defer bar.done()
	ctx := api.WithCorrelation(cmd.Context(), "")
	err = client.Download(ctx, "/v1/snapshot", func(body io.Reader, size int64) error {
		if size > consensus.MaxSnapshotFile {
			return api.Errorf(api.CodeTooLarge, "a snapshot of %d bytes is too large", size)
		}
		if err := tmp.Truncate(0); err != nil { // another node may have begun
			return err
		}
		_, err := io.Copy(&counting{to: io.NewOffsetWriter(tmp, 0), told: func(done int64) { bar.update("saving", done, size) }},
			io.LimitReader(body, consensus.MaxSnapshotFile))
		return err
	})
	if err == nil {
		err = tmp.Sync()
	}
	if err != nil {
		return err
	}
	info, err := tmp.Stat()
	if err != nil {
		return err
	}
	s, err := consensus.OpenSnapshot(tmp, info.Size(), func(done, total int64) { bar.update("checking", done, total) })
	if err != nil {
		return api.Errorf(api.CodeUnavailable, "what came is %v", err).WithHint("nothing was saved; try again")
	}
	if err := durable.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return printSnapshot(cmd, path, s)
}

// counting tells how much has been written.
type counting struct {
	to   io.Writer
	done int64
	told func(done int64)
}

func (c *counting) Write(b []byte) (int, error) {
	n, err := c.to.Write(b)
	c.done += int64(n)
	c.told(c.done)
	return n, err
}

func newSnapshotInspect() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "inspect FILE",
		Short:   "Check a snapshot file and show what it holds, without a cluster",
		Example: "  redflag snapshot inspect /backup/redflag.snapshot --json",
		Args:    exactArgs("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			bar := newBar(cmd.ErrOrStderr())
			f, s, err := node.OpenSnapshot(args[0], func(done, total int64) { bar.update("checking", done, total) })
			bar.done()
			if err != nil {
				return err
			}
			return errors.Join(printSnapshot(cmd, args[0], s), f.Close())
		},
	}
	addJSONFlag(cmd)
	return cmd
}

// snapshotReport is what inspect prints as JSON.
type snapshotReport struct {
	File string `json:"file"`
	consensus.SnapshotHeader
	Epoch    uint64            `json:"epoch"`
	Size     int64             `json:"size"`
	SHA256   string            `json:"sha256"`
	Verified bool              `json:"checksum_verified"`
	TakenAt  time.Time         `json:"taken_at"` // the leader's last tick in it
	Rows     int               `json:"rows"`
	Bytes    int64             `json:"bytes"`
	Kinds    []state.KindCount `json:"kinds"`
}

func printSnapshot(cmd *cobra.Command, path string, s *consensus.SnapshotFile) error {
	r := snapshotReport{
		File: path, SnapshotHeader: s.Header, Epoch: state.EpochOf(s.Header.Index), Size: s.Size, SHA256: hex.EncodeToString(s.SHA256),
		Verified: true, TakenAt: s.Info.TakenAt, Rows: s.Info.Rows, Bytes: s.Info.Bytes, Kinds: s.Info.Kinds,
	}
	out := cmd.OutOrStdout()
	if wantsJSON(cmd) {
		return printJSON(out, r)
	}
	fmt.Fprintf(out, "%s\n  cluster %s, written by %s at %s\n  log index %d, term %d, epoch %d\n  %s, checksum verified: sha256 %s\n\n",
		r.File, r.ClusterID, r.NodeID, r.WrittenAt.Format(time.RFC3339), r.Index, r.Term, r.Epoch, api.Bytes(r.Size), r.SHA256)
	var rows [][]string
	for _, k := range r.Kinds {
		if k.Rows > 0 {
			rows = append(rows, []string{k.Kind, strconv.Itoa(k.Rows), api.Bytes(k.Bytes).String()})
		}
	}
	return printTable(out, "", []string{"KIND", "ROWS", "SIZE"}, rows)
}
