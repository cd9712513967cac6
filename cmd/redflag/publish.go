package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"redflag/api"
	"redflag/publish"
	"redflag/trust/signing"
)

func newPublishCommand() *cobra.Command {
	var name, ver, keys, role string
	var how installFlags
	var only forFlags
	var way wayFlags
	var noWait bool
	cmd := &cobra.Command{
		Use:     "publish FILE",
		GroupID: "steer",
		Short:   "Sign a payload and make it available to every region",
		Long: `Sign a payload and make it available to every region.

The file is hashed and cut into pieces here, uploaded to one node, and signed
with the key in --keys. The other regions' nodes then fetch it over the swarm,
one copy per region. Nothing is installed before a rollout says so.

How agents install it is signed too. --type is file (the default), archive (a
tar, tar.gz, tar.zst or zip), deb, exec (an archive of scripts: pre, install,
verify, commit, rollback), self (the agent's own binary) or module (an update
module of the machine, docs/modules.md). Each --check must pass within
--check-within after the install, else the machine goes back by itself.

--os, --arch, --hardware, --min-installed and --label are the operator's signed
word on where it belongs: every other machine refuses it, even if the queue was
taken over and tells it to.

The payload is packed by zstd, and deltas from the newest earlier versions are
published beside it, where that is shorter; agents make the payload of it that
was signed. Give FILE as it is, a tar rather than a tar.gz: what is compressed
already has no delta worth sending.

--role signs as a role that redflag keys delegate made for this product, with its own
keys in --keys. Nodes and agents refuse every path that is not the role's.

Where more than one key must sign, the payload is uploaded and the metadata
staged: hand the staged folder to the next signer (redflag keys sign), and give
it to the cluster when enough have signed (redflag keys push).`,
		Example: `  redflag publish ./app-1.4.0.bin --name app --version 1.4.0
  redflag publish ./app-1.5.0.bin --name app --version 1.5.0 --zstd 11 --delta-from 1.3.0 --delta-from 1.4.0
  redflag publish ./site.tar --name site --version 7 --type archive --check http:http://127.0.0.1/healthz
  redflag publish ./agent_2.1_amd64.deb --name agent --version 2.1 --type deb --check unit:agent.service --check-within 2m
  redflag publish ./app-1.6.0.bin --name app --version 1.6.0 --role app --keys ./dev
  redflag publish ./fw-3.bin --name fw --version 3 --os linux --arch arm64 --hardware gateway-2 --min-installed 2.1`,
		Args: exactArgs("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			install, err := how.install()
			if err != nil {
				return err
			}
			repo, err := signing.Open(keys, keyOptions(cmd))
			if err != nil {
				return err
			}
			client, err := connect(cmd)
			if err != nil {
				return err
			}
			if err := way.complete(cmd, client); err != nil {
				return err
			}
			bar := newBar(cmd.ErrOrStderr())
			p := &publish.Publisher{Client: client, Keys: repo, Dir: keys, Role: role, Level: way.level, DeltaFrom: way.from, Deltas: way.deltas, For: only.machines(), Progress: func(step publish.Step, done, total int64) {
				bar.update(string(step), done, total)
			}}
			a, err := p.File(api.WithCorrelation(cmd.Context(), ""), args[0], name, ver, install)
			bar.done()
			if err != nil {
				return err
			}
			if !noWait {
				var missing []string
				missing, err = waitSeeded(cmd.Context(), client, a, func(done, total int64) { bar.update("nodes", done, total) })
				bar.done()
				if len(missing) > 0 {
					fmt.Fprintf(cmd.ErrOrStderr(), "not yet on %s; they fetch it as soon as they can\n  next: redflag health\n", strings.Join(missing, ", "))
				}
			}
			if err != nil {
				return err
			}
			if wantsJSON(cmd) {
				return printJSON(cmd.OutOrStdout(), a)
			}
			length, sum := a.Content()
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s %s is published: %s%s, sha256 %s\n  next: redflag rollout create %s --version %s --to all\n",
				a.Name, a.Version, api.Bytes(length), onTheWay(a), sum, a.Name, a.Version)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&name, "name", "", "name of the artifact")
	f.StringVar(&ver, "version", "", "version, such as 1.4.0; agents refuse to go back to an older one")
	f.StringVar(&keys, "keys", defaultKeysDir(), "folder of the signing keys")
	f.StringVar(&role, "role", "", "sign as this delegated role; as targets itself if not given")
	f.BoolVar(&noWait, "no-wait", false, "do not wait until every node has the payload")
	how.add(f)
	only.add(f)
	way.add(f)
	_ = cmd.MarkFlagRequired("name")
	_ = cmd.MarkFlagRequired("version")
	addPassphraseFlags(cmd)
	addClientFlags(cmd)
	addJSONFlag(cmd)
	return cmd
}
