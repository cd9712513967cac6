package main

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"redflag/api"
	"redflag/durable"
)

func newArtifactTorrentCommand() *cobra.Command {
	var out, tracker string
	cmd := &cobra.Command{
		Use:   "torrent ARTIFACT[@VERSION]",
		Short: "Write a .torrent file for standard BitTorrent clients",
		Long: `Write a .torrent file for standard BitTorrent clients.

Its info dictionary is the one that agents use: the info hash is the same, and
private. Without --tracker it names the tracker of the node that answers, which
must be in plain mode: started with --plain-listen, with the setting swarm.plain
on. Without a version it is about the one that was published last.

What a client fetches is the payload as it is published, zstd if it was packed.
Clients check pieces against the file; they check no signature.`,
		Example: `  redflag artifacts torrent app@1.4.0
  redflag artifacts torrent app --out app.torrent --tracker http://tracker.example.org/announce`,
		Args: exactArgs("ARTIFACT[@VERSION]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := publishedAs(cmd, args[0])
			if err != nil {
				return err
			}
			client, err := connect(cmd)
			if err != nil {
				return err
			}
			path := "/v1/artifacts/" + url.PathEscape(a.Name) + "/" + url.PathEscape(a.Version) + "/torrent"
			if tracker != "" {
				path += "?" + url.Values{"tracker": {tracker}}.Encode()
			}
			b, err := client.Raw(cmd.Context(), path, api.MaxBody)
			if err != nil {
				return err
			}
			if out == "-" {
				_, err = cmd.OutOrStdout().Write(b)
				return err
			}
			if out == "" {
				out = a.Name + "-" + a.Version + ".torrent"
			}
			if err := durable.WriteFile(out, b, 0o644); err != nil {
				return api.Errorf(api.CodeInvalid, "the torrent cannot be written: %v", err).WithHint("name another file with --out")
			}
			if wantsJSON(cmd) {
				return printJSON(cmd.OutOrStdout(), struct {
					File     string `json:"file"`
					InfoHash string `json:"info_hash"`
				}{out, a.InfoHash})
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is written: %s %s, %s, info hash %s\n", out, a.Name, a.Version, api.Bytes(a.Length), a.InfoHash)
			return err
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "file to write, - for standard output (default: ARTIFACT-VERSION.torrent)")
	cmd.Flags().StringVar(&tracker, "tracker", "", "announce URL to put in (default: that of the node in plain mode that answers)")
	return cmd
}

// publishedAs returns ARTIFACT@VERSION, or what was published last of ARTIFACT.
func publishedAs(cmd *cobra.Command, arg string) (api.Artifact, error) {
	name, version, exact := strings.Cut(arg, "@")
	if exact {
		return findArtifact(cmd, name, version)
	}
	all, err := artifacts(cmd)
	if err != nil {
		return api.Artifact{}, err
	}
	var last api.Artifact
	for _, a := range all {
		if a.Name == name && !a.PublishedAt.Before(last.PublishedAt) {
			last = a
		}
	}
	if last.Name == "" {
		return last, api.Errorf(api.CodeNotFound, "%s is not published", name).WithHint("redflag artifacts lists what is")
	}
	return last, nil
}
