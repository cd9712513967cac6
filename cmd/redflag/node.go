package main

import (
	"os"

	"github.com/spf13/cobra"

	"redflag/api"
	"redflag/node"
	"redflag/telemetry"
)

func newNodeCommand() *cobra.Command {
	d := node.Defaults()
	var cfg node.Config
	cmd := &cobra.Command{
		Use:     "node",
		GroupID: "run",
		Short:   "Run a regional node",
		Long: `Run a regional node.

With no --join a new cluster is founded, of this one node: no database, broker
or cache is needed. Its data directory then holds operator.json, the credential
for every other command. Further nodes --join any running one, once with a
token made by: redflag token create --kind node

Agents and other nodes reach --mesh-listen (TLS 1.3, mutual). Operators reach
--api-listen: plain HTTP on loopback only, HTTPS anywhere else.

With --plain-listen, and once redflag settings set swarm.plain=true is in force,
standard BitTorrent clients fetch payloads there too: anybody who reaches the
port, without TLS. redflag artifacts torrent makes the file that they need.`,
		Example: `  redflag node --region eu-west --data-dir /var/lib/redflag --mesh-listen 10.0.0.5:7420
  REDFLAG_TOKEN=rf1.… redflag node --region us-east --data-dir /var/lib/redflag --mesh-listen 10.1.0.5:7420 --join 10.0.0.5:7420
  REDFLAG_TOKEN=rf1.… redflag node --region ap-south --data-dir /var/lib/redflag --mesh-listen 10.2.0.5:7420 --join 10.0.0.5:7420 --network wan --non-voter`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg.Version = version
			cfg.LogOutput = telemetry.NewOutput(os.Stderr)
			cfg.Logger = telemetry.NewLogger("node", cfg.LogOutput, cfg.Debug, telemetry.KeyNode, cfg.ID, telemetry.KeyRegion, cfg.Region)
			n, err := node.New(cfg)
			if err != nil {
				return err
			}
			return n.Run(cmd.Context())
		},
	}
	cmd.AddCommand(newNodeValidate(&cfg), newNodeRecoverCommand())
	f := cmd.PersistentFlags()
	f.StringVar(&cfg.ID, "id", d.ID, "name of this node in the cluster")
	f.StringVar(&cfg.Region, "region", d.Region, "region that this node serves")
	f.StringVar(&cfg.DataDir, "data-dir", d.DataDir, "folder for everything that the node must not forget")
	f.StringVar(&cfg.MeshListen, "mesh-listen", d.MeshListen, "host:port for agents and nodes; port 0 picks one")
	f.StringVar(&cfg.MeshAdvertise, "mesh-advertise", "", "host:port under which others reach --mesh-listen (default: the same)")
	f.StringVar(&cfg.APIListen, "api-listen", d.APIListen, "host:port for operators")
	f.StringVar(&cfg.APICert, "api-cert", "", "PEM certificate of the operators' listener (default: one of the cluster's own CA)")
	f.StringVar(&cfg.APIKey, "api-key", "", "PEM key that belongs to --api-cert")
	f.StringVar(&cfg.PlainListen, "plain-listen", "", "host:port for standard BitTorrent clients and their tracker: no TLS, no identity; served only while the setting swarm.plain is on too")
	f.StringSliceVar(&cfg.Join, "join", nil, "mesh host:port of a running node; may be repeated")
	f.StringVar(&cfg.JoinToken, "token", "", "registration token of kind node, needed for the first start with --join")
	f.BoolVar(&cfg.NonVoter, "non-voter", false, "hold the state and answer polls without a vote: for regions far from the voters")
	f.StringVar(&cfg.Network, "network", d.Network, "what lies between the nodes: lan (timeouts of 1s) or wan (3s, for round trips up to 300ms)")
	f.DurationVar(&cfg.RaftTimeout, "raft-timeout", 0, "heartbeat and election timeout instead of what --network says: ten times the largest round trip between voters")
	f.StringVar(&cfg.OTLPHeaders, "otlp-headers", "", "file with headers for the collector of otlp.endpoint, one a line, that only its owner may read")
	f.StringVar(&cfg.OTLPCA, "otlp-ca", "", "PEM file of the CAs that vouch for that collector (default: the system's)")
	f.BoolVar(&cfg.Debug, "debug", false, "debug logs, whatever the cluster's debug setting says")
	return cmd
}

func newNodeValidate(cfg *node.Config) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "validate",
		Short: "Check what a node would be started with, without starting it; exit code 0 ok, 1 warn, 2 critical",
		Long: `Check what a node would be started with, without starting it.

It takes the flags of redflag node and changes nothing. A node whose
configuration contradicts the cluster's settings refuses to vote: this says so
beforehand.`,
		Example: "  redflag node validate --config /etc/redflag/node.yaml",
		Args:    exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg.Version = version
			h := api.Health{Node: cfg.ID, Region: cfg.Region, Status: api.StatusOK, Checks: node.ValidateConfig(cmd.Context(), *cfg)}
			for _, c := range h.Checks {
				h.Status = h.Status.Worse(c.Status)
			}
			if err := showHealth(cmd, []api.Health{h}); err != nil {
				return err
			}
			return healthExit([]api.Health{h})
		},
	}
	addJSONFlag(cmd)
	return cmd
}
