package api

// Readiness is what an agent says of its machine with each poll, so that
// commands wait until it can carry them out. An absent value is unknown, and a
// gate that asks for an unknown value is closed.
type Readiness struct {
	DiskFree  *int64 `json:"disk_free,omitempty"`  // bytes, where payloads are kept
	DiskTotal *int64 `json:"disk_total,omitempty"` // bytes
	// LoadPercent is the one-minute load average per CPU, times 100.
	LoadPercent *int  `json:"load_percent,omitempty"`
	OnBattery   *bool `json:"on_battery,omitempty"`
	Battery     *int  `json:"battery,omitempty"` // percent
	// PackageLock says that another program holds the package manager's lock.
	PackageLock *bool `json:"package_lock,omitempty"`
	// RebootPending says that the machine waits for a restart.
	RebootPending *bool `json:"reboot_pending,omitempty"`
	// Metered says that bytes cost on the machine's link.
	Metered *bool `json:"metered,omitempty"`
	// WindowOpen says whether the machine's own maintenance window is open; a
	// machine without one reports nothing.
	WindowOpen *bool `json:"window_open,omitempty"`
	// Blocked lists what the machine's own policy forbids now, such as work
	// outside its own maintenance window.
	Blocked []Blocked `json:"blocked,omitempty"`
	// Degraded says that the machine cannot work at all, and why.
	Degraded string `json:"degraded,omitempty"`
}

// MaxBlocked bounds Readiness.Blocked.
const MaxBlocked = 16

// Blocked is one reason of a machine's own not to be worked on.
type Blocked struct {
	Gate   string `json:"gate"` // such as "window"
	Reason string `json:"reason"`
}

// Gates says what a machine must be like before a command is handed out.
type Gates struct {
	// DiskFree is the free space needed, in bytes, on top of twice the payload.
	DiskFree int64 `json:"disk_free,omitempty" cbor:"1,keyasint,omitempty"`
	// LoadPercent is the highest load per CPU, times 100.
	LoadPercent int `json:"load_percent,omitempty" cbor:"2,keyasint,omitempty"`
	// Power asks for mains power; Battery, the least percentage, is enough
	// where it is set.
	Power   bool `json:"power,omitempty" cbor:"3,keyasint,omitempty"`
	Battery int  `json:"battery,omitempty" cbor:"4,keyasint,omitempty"`
	// PackageLock asks that nobody holds the package manager's lock.
	PackageLock bool `json:"package_lock,omitempty" cbor:"5,keyasint,omitempty"`
	// Unmetered asks for a link on which bytes cost nothing.
	Unmetered bool `json:"unmetered,omitempty" cbor:"6,keyasint,omitempty"`
}

// Validate returns a CodeInvalid error for gates that make no sense.
func (g Gates) Validate() error {
	if g.DiskFree < 0 || g.LoadPercent < 0 || g.LoadPercent > 100_000 || g.Battery < 0 || g.Battery > 100 {
		return Errorf(CodeInvalid, "a readiness gate is out of range").
			WithHint("use disk=2GiB, load=150 (percent per CPU), power, battery=50, lock or unmetered")
	}
	return nil
}

// Closed returns why a machine in the state r may not be worked on, or "". An
// agent that reports nothing passes only when nothing is asked.
func (g Gates) Closed(r *Readiness, payload int64) string {
	if r == nil {
		r = &Readiness{}
	}
	for _, b := range r.Blocked {
		return "the machine says: " + b.Gate + ": " + b.Reason
	}
	need := 2*payload + g.DiskFree
	switch {
	case r.Degraded != "":
		return "the machine is degraded: " + r.Degraded
	case g.DiskFree > 0 && r.DiskFree == nil, g.LoadPercent > 0 && r.LoadPercent == nil,
		g.Power && r.OnBattery == nil, g.PackageLock && r.PackageLock == nil,
		g.Unmetered && r.Metered == nil:
		return "the agent does not report what the gates ask for"
	case r.DiskFree != nil && *r.DiskFree < need:
		return "disk: " + Bytes(*r.DiskFree).String() + " free, " + Bytes(need).String() + " needed"
	case g.LoadPercent > 0 && *r.LoadPercent > g.LoadPercent:
		return "load: " + percent(*r.LoadPercent) + " per CPU, at most " + percent(g.LoadPercent) + " allowed"
	case g.PackageLock && *r.PackageLock:
		return "the package manager's lock is held"
	case g.Unmetered && *r.Metered:
		return "the machine's link is metered"
	case g.Power && *r.OnBattery && (g.Battery == 0 || r.Battery == nil || *r.Battery < g.Battery):
		return "power: the machine runs on battery"
	}
	return ""
}

// Conditions lists, in a fixed order, what ReadinessCounts counts.
var Conditions = []string{"reporting", "on_battery", "package_locked", "reboot_pending", "metered", "window_shut", "busy", "low_disk", "degraded"}

// Conditions names what is true of the machine.
func (r *Readiness) Conditions() []string {
	if r == nil {
		return nil
	}
	yes := func(v *bool) bool { return v != nil && *v }
	out := []string{"reporting"}
	for _, c := range []struct {
		name string
		met  bool
	}{
		{"on_battery", yes(r.OnBattery)},
		{"package_locked", yes(r.PackageLock)},
		{"reboot_pending", yes(r.RebootPending)},
		{"metered", yes(r.Metered)},
		{"window_shut", r.WindowOpen != nil && !*r.WindowOpen},
		{"busy", r.LoadPercent != nil && *r.LoadPercent > 100},
		{"low_disk", r.DiskFree != nil && r.DiskTotal != nil && *r.DiskFree < *r.DiskTotal/20},
		{"degraded", r.Degraded != ""},
	} {
		if c.met {
			out = append(out, c.name)
		}
	}
	return out
}

// ReadinessCounts counts the agents of one region that polled lately, by what is
// true of their machines, see Conditions.
type ReadinessCounts struct {
	Region string         `json:"region"`
	Counts map[string]int `json:"counts"`
}
