package agent

import (
	"net"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"

	"redflag/api"
	"redflag/telemetry"
)

// Config says who an agent is and how it reaches its first node. Once it is
// enrolled, the data directory alone is enough to start it again.
type Config struct {
	// ID names the agent. Empty means the host's name at enrolment, and who
	// the certificate says afterwards.
	ID string
	// Region is where the machine is. It is needed to enrol.
	Region string
	// Labels are what selectors match. They are sent at enrolment.
	Labels map[string]string
	// Nodes are the host:port of mesh listeners for the first contact. The
	// nodes that a poll names are remembered beside them.
	Nodes []string
	// Token is the registration token. It is used once.
	Token string
	// RootFile is a TUF root.json that the operator put on the machine. It is
	// read at enrolment only, and takes the place of the token's root hash.
	RootFile string
	// DataDir is where everything is kept. One agent may use it at a time.
	DataDir string
	// SwarmAddr is where swarm peers connect; ":0", any free port, is the default.
	SwarmAddr string
	// DownloadLimit and UploadLimit are this machine's own caps on swarm
	// traffic, on the wire. The stricter of them and the settings' holds.
	DownloadLimit api.Rate
	UploadLimit   api.Rate
	// ModulesDir holds update modules; empty means install.DefaultModulesDir.
	ModulesDir string
	// KeepVersions is how many versions before the current one are kept of
	// each artifact, 2 by default, and VersionsBudget what they may take in
	// bytes, 0 for any amount. One is always kept.
	KeepVersions   int
	VersionsBudget int64
	// Patience is how long a command goes on without a node or a byte before it
	// fails; 0 means half an hour: machines sleep, and sites lose their link.
	Patience time.Duration
	// Windows are when this machine may be worked on; none means always.
	Windows []api.Window
	// Metered says whether bytes cost on this machine's link; nil asks the
	// system.
	Metered *bool
	// OSUpdates lets commands update packages of the operating system.
	OSUpdates bool
	// AllowReboot lets commands restart the machine.
	AllowReboot bool
	// RebootCommand restarts the machine, for those commands and for installs that
	// need it; empty means systemctl reboot. BootIDFile changes with each boot;
	// empty means the kernel's own.
	RebootCommand []string
	BootIDFile    string
	// Executable is the file that runs this process; empty means to find out.
	Executable string
	// Debug keeps debug lines in the log whatever the settings say.
	Debug bool
	// Version is the version of the agent's binary, for operators to see.
	Version string
	// LogOutput is what Logger writes to, so that the log can be handed to the
	// nodes. Without it the log stays where Logger writes it.
	LogOutput *telemetry.Output
	// Logger is the process's root logger: settings change its level.
	Logger hclog.Logger
}

func (c *Config) setDefaults() {
	if c.SwarmAddr == "" {
		c.SwarmAddr = ":0"
	}
	if c.KeepVersions == 0 {
		c.KeepVersions = keepBefore
	}
	if c.Patience == 0 {
		c.Patience = patience
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
}

// Validate returns a CodeInvalid error, with a hint, for settings that no
// agent can run with.
func (c *Config) Validate() error {
	if c.DataDir == "" {
		return api.Errorf(api.CodeInvalid, "no data directory is configured").
			WithHint("pass --data-dir, such as /var/lib/redflag-agent")
	}
	if c.ID != "" {
		if err := api.CheckID("agent id", c.ID); err != nil {
			return err
		}
	}
	if c.Region != "" {
		if err := api.CheckID("region", c.Region); err != nil {
			return err
		}
	}
	if err := api.CheckLabels(c.Labels); err != nil {
		return err
	}
	for _, n := range c.Nodes {
		if err := checkAddr(n); err != nil {
			return api.Errorf(api.CodeInvalid, "node %q: %v", n, err).WithHint("write host:port of a node's mesh listener")
		}
	}
	if c.SwarmAddr != "" {
		if _, _, err := net.SplitHostPort(c.SwarmAddr); err != nil {
			return api.Errorf(api.CodeInvalid, "swarm address %q: %v", c.SwarmAddr, err).WithHint("write host:port, or :0 for any free port")
		}
	}
	if err := api.CheckWindows(c.Windows); err != nil {
		return err
	}
	if c.KeepVersions < 0 || c.VersionsBudget < 0 {
		return api.Errorf(api.CodeInvalid, "the number or the size of kept versions is negative").WithHint("use --keep-versions 2")
	}
	if c.DownloadLimit < 0 || c.UploadLimit < 0 {
		return api.Errorf(api.CodeInvalid, "a bandwidth limit is negative").WithHint("use a rate such as 8mbit, or unlimited")
	}
	return nil
}

// validateEnrolment checks what only the first start needs.
func (c *Config) validateEnrolment() error {
	switch {
	case c.Token == "":
		return api.Errorf(api.CodeInvalid, "this machine is not enrolled and no token is configured").
			WithHint("pass --token; make one with: redflag token create")
	case c.Region == "":
		return api.Errorf(api.CodeInvalid, "no region is configured").WithHint("pass --region, such as eu-west")
	case len(c.Nodes) == 0:
		return api.Errorf(api.CodeInvalid, "no node is configured").WithHint("pass --node host:port of a node's mesh listener")
	}
	return nil
}

// enrolmentID is the configured id, or the host's name.
func (c *Config) enrolmentID() (string, error) {
	if c.ID != "" {
		return c.ID, nil
	}
	host, err := os.Hostname()
	if err != nil || !api.ValidID(host) {
		return "", api.Errorf(api.CodeInvalid, "the host's name cannot be the agent's id").WithHint("pass --id")
	}
	return host, nil
}

func checkAddr(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err == nil && host == "" {
		err = &net.AddrError{Err: "missing host", Addr: addr}
	}
	return err
}
