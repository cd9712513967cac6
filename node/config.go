package node

import (
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"redflag/api"
	"redflag/telemetry"
)

// Config is what a node is started with. Everything else is a replicated
// setting.
type Config struct {
	// ID names the node in the cluster; the host name by default.
	ID string
	// Region is where the node stands. Agents of the same region prefer it.
	Region string
	// DataDir holds everything that the node must not forget.
	DataDir string
	// MeshListen is the host:port that nodes and agents reach. Port 0 picks one.
	MeshListen string
	// MeshAdvertise is MeshListen as others must dial it; by default the same.
	MeshAdvertise string
	// APIListen is the host:port of the operators' listener: plain HTTP on
	// loopback only, HTTPS anywhere else.
	APIListen string
	// APICert and APIKey are PEM files for the operators' listener; without
	// them a certificate of the cluster's own authority is used.
	APICert, APIKey string
	// PlainListen is the host:port at which standard BitTorrent clients are
	// served while the setting swarm.plain is on. Empty serves none.
	PlainListen string
	// Join lists mesh addresses of nodes to join. Empty starts a new cluster.
	Join []string
	// JoinToken is a registration token of kind node, needed once.
	JoinToken string
	// NonVoter has the node hold the state and answer polls without a vote. The
	// first node of a cluster cannot be one.
	NonVoter bool
	// Network is NetworkLAN or NetworkWAN, and says what RaftTimeout is.
	Network string
	// RaftTimeout is the heartbeat and election timeout: at least ten times
	// the largest round trip between voters. 0 leaves it to Network.
	RaftTimeout time.Duration
	// Debug keeps debug logs on whatever the settings say.
	Debug bool
	// Version is this binary's.
	Version string
	// LogOutput is what Logger writes to, so that this node's lines are found
	// with all others. Without it they stay where Logger writes them.
	LogOutput *telemetry.Output
	// OTLPHeaders is a file of "Name: value" lines that go with each request to
	// the OpenTelemetry collector, and that only its owner may read. OTLPCA is a
	// PEM file of the CAs that vouch for it, instead of the system's.
	OTLPHeaders, OTLPCA string
	// Clock is what health checks go by, time.Now by default.
	Clock func() time.Time
	// Logger is the root logger of the process.
	Logger hclog.Logger
}

// Defaults returns a Config for a single node on this machine.
func Defaults() Config {
	host, err := os.Hostname()
	if err != nil || !api.ValidID(host) {
		host = "node"
	}
	return Config{
		ID:         host,
		Region:     "default",
		DataDir:    "redflag-node",
		MeshListen: "127.0.0.1:7420",
		APIListen:  "127.0.0.1:7421",
		Network:    NetworkLAN,
	}
}

// What may lie between the voters.
const (
	NetworkLAN = "lan" // round trips up to 100 ms
	NetworkWAN = "wan" // round trips up to 300 ms
)

var raftTimeouts = map[string]time.Duration{NetworkLAN: time.Second, NetworkWAN: 3 * time.Second}

// Validate returns the first thing that keeps the node from starting, and fills
// in the timeout that Network stands for.
func (c *Config) Validate() error {
	if err := api.CheckID("node id", c.ID); err != nil {
		return err
	}
	if err := api.CheckID("region", c.Region); err != nil {
		return err
	}
	if c.DataDir == "" {
		return api.Errorf(api.CodeInvalid, "no data directory is set").WithHint("name one with --data-dir")
	}
	for flag, addr := range map[string]string{"--mesh-listen": c.MeshListen, "--api-listen": c.APIListen, "--plain-listen": c.PlainListen} {
		if flag == "--plain-listen" && addr == "" {
			continue
		}
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return api.Errorf(api.CodeInvalid, "%s %q is not host:port", flag, addr).WithHint("for example 10.0.0.5:7420")
		}
	}
	if err := c.checkAdvertise(); err != nil {
		return err
	}
	for _, addr := range c.Join {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return api.Errorf(api.CodeInvalid, "--join %q is not host:port", addr).WithHint("for example eu1.example.org:7420")
		}
	}
	if c.NonVoter && len(c.Join) == 0 {
		return api.Errorf(api.CodeInvalid, "a node without a vote cannot found a cluster").WithHint("name a voter to --join")
	}
	if (c.APICert == "") != (c.APIKey == "") {
		return api.Errorf(api.CodeInvalid, "--api-cert and --api-key go together")
	}
	if c.Network != "" && raftTimeouts[c.Network] == 0 {
		return api.Errorf(api.CodeInvalid, "--network %q is not known", c.Network).WithHint("use lan or wan")
	}
	if c.Network == "" {
		c.Network = NetworkLAN
	}
	if c.RaftTimeout == 0 {
		c.RaftTimeout = raftTimeouts[c.Network]
	}
	if c.RaftTimeout < 100*time.Millisecond || c.RaftTimeout > time.Minute {
		return api.Errorf(api.CodeInvalid, "a Raft timeout of %s is out of range", c.RaftTimeout).WithHint("use 100ms to 1m")
	}
	return nil
}

// checkAdvertise refuses an address that nobody else could dial.
func (c *Config) checkAdvertise() error {
	addr := c.MeshAdvertise
	if addr == "" {
		addr = c.MeshListen
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return api.Errorf(api.CodeInvalid, "--mesh-advertise %q is not host:port", addr)
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		return api.Errorf(api.CodeInvalid, "the mesh address %q cannot be dialled by others", addr).
			WithHint("name this host's own address with --mesh-advertise")
	}
	return nil
}

func (c *Config) apiIsLoopback() bool {
	host, _, _ := net.SplitHostPort(c.APIListen)
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || (ip != nil && ip.IsLoopback())
}

// advertised combines the wanted address with the port that was really bound.
func (c *Config) advertised(bound net.Addr) (string, error) {
	addr := c.MeshAdvertise
	if addr == "" {
		addr = c.MeshListen
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", fmt.Errorf("advertised address: %w", err)
	}
	if port == "0" {
		if _, port, err = net.SplitHostPort(bound.String()); err != nil {
			return "", fmt.Errorf("bound address: %w", err)
		}
	}
	return net.JoinHostPort(host, port), nil
}
