package main

import (
	"bufio"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"redflag/api"
	"redflag/publish"
	"redflag/trust"
	"redflag/trust/signing"
)

func newBundleCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "bundle",
		GroupID: "trust",
		Short:   "Carry releases on a disk into a cluster that no network leads to",
		Long: `Carry releases on a disk into a cluster that no network leads to.

A bundle is a tar of signed metadata and payloads. Whoever carries it cannot
change it: import checks it against the hash of the first root, which you take
down from redflag keys status where the bundle is made. What is imported is then
signed with the keys of the cluster it comes into.`,
		Example: "  redflag bundle export release.tar --only app/1.4.0",
	}
	cmd.PersistentFlags().String("keys", defaultKeysDir(), "folder of the signing keys")
	addPassphraseFlags(cmd)
	addClientFlags(cmd)
	cmd.AddCommand(newBundleExport(), newBundleImport())
	return cmd
}

func newBundleExport() *cobra.Command {
	var only []string
	cmd := &cobra.Command{
		Use:   "export FILE",
		Short: "Write metadata and payloads of this cluster into a bundle",
		Example: `  redflag bundle export release.tar --only app/1.4.0 --only site/7
  redflag bundle export everything.tar`,
		Args: exactArgs("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			repo, client, err := openKeys(cmd, signing.Options{})
			if err != nil {
				return err
			}
			bar := newBar(cmd.ErrOrStderr())
			var carried []trust.Target
			err = writeFile(args[0], func(w io.Writer) (err error) {
				carried, err = publish.Export(api.WithCorrelation(cmd.Context(), ""), client, w, repo.First(), only, bar.update)
				return err
			})
			bar.done()
			if err != nil {
				return err
			}
			if wantsJSON(cmd) {
				return printJSON(cmd.OutOrStdout(), struct {
					Root    string         `json:"root"`
					Targets []trust.Target `json:"targets"`
				}{trust.RootHash(repo.First()), carried})
			}
			for _, t := range carried {
				fmt.Fprintf(cmd.OutOrStdout(), "%s, %s\n", t.Path, api.Bytes(t.Length))
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is written\n  next, there: redflag bundle import %s --root %s\n", args[0], args[0], trust.RootHash(repo.First()))
			return err
		},
	}
	cmd.Flags().StringSliceVar(&only, "only", nil, "only this payload, NAME/VERSION; may be repeated; all without it")
	addJSONFlag(cmd)
	return cmd
}

// writeFile leaves nothing behind when write fails.
func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return api.Errorf(api.CodeInvalid, "the bundle cannot be written: %v", err).WithHint("name a file that does not exist yet")
	}
	buf := bufio.NewWriterSize(f, 1<<20)
	err = write(buf)
	if err == nil {
		err = buf.Flush()
	}
	if err == nil {
		err = f.Sync() // the disk may be pulled out as soon as this ends
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		_ = os.Remove(path)
	}
	return err
}

func newBundleImport() *cobra.Command {
	var root, role string
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Check a bundle and publish what is in it to this cluster",
		Long: `Check a bundle and publish what is in it to this cluster.

Every file is checked against --root while it is read, before anything is signed.
An import that broke off may be repeated: what is here is passed over.`,
		Example: "  redflag bundle import release.tar --root 5f2c…",
		Args:    exactArgs("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := os.Open(args[0])
			if err != nil {
				return api.Errorf(api.CodeInvalid, "the bundle cannot be read: %v", err)
			}
			defer f.Close()
			repo, err := signing.Open(keysDir(cmd), keyOptions(cmd))
			if err != nil {
				return err
			}
			client, err := connect(cmd)
			if err != nil {
				return err
			}
			bar := newBar(cmd.ErrOrStderr())
			p := &publish.Publisher{Client: client, Keys: repo, Dir: keysDir(cmd), Role: role, Progress: func(step publish.Step, done, total int64) {
				bar.update(string(step), done, total)
			}}
			imported, err := p.Import(api.WithCorrelation(cmd.Context(), ""), bufio.NewReaderSize(f, 1<<20), root)
			bar.done()
			if err != nil {
				return err
			}
			if wantsJSON(cmd) {
				return printJSON(cmd.OutOrStdout(), imported)
			}
			for _, a := range imported {
				fmt.Fprintf(cmd.OutOrStdout(), "%s %s is published: %s, sha256 %s\n", a.Name, a.Version, api.Bytes(a.Length), a.SHA256)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "  next: redflag rollout create NAME --version VERSION --to all")
			return err
		},
	}
	cmd.Flags().StringVar(&root, "root", "", "hash of the first root where the bundle was made: redflag keys status there")
	cmd.Flags().StringVar(&role, "role", "", "sign as this delegated role of this cluster; as targets itself if not given")
	_ = cmd.MarkFlagRequired("root")
	addJSONFlag(cmd)
	return cmd
}
