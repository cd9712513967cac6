package api

import (
	"net"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// InstallType names the way in which a payload is put on a machine.
type InstallType string

// The ways to install.
const (
	InstallFile    InstallType = "file"    // one file, put in place by one rename
	InstallArchive InstallType = "archive" // tar, tar.gz, tar.zst or zip, unpacked into a folder per version
	InstallDeb     InstallType = "deb"     // a Debian package
	InstallExec    InstallType = "exec"    // an archive of scripts: pre, install, verify, commit, rollback
	InstallSelf    InstallType = "self"    // the agent's own binary
	InstallModule  InstallType = "module"  // an update module of the machine
)

// InstallTypes lists every way to install.
var InstallTypes = []InstallType{InstallFile, InstallArchive, InstallDeb, InstallExec, InstallSelf, InstallModule}

// The bounds of an Install.
const (
	maxChecks       = 32
	maxCheckTarget  = 1024
	maxParams       = 64
	maxParam        = 4096
	maxInstallTime  = Duration(24 * time.Hour)
	maxUnpackedSize = 1 << 42
	maxUnpacked     = 1 << 22
)

// Install says how a payload is installed. It is part of what the operator
// signs, so that no node can choose another way.
type Install struct {
	// Type is InstallFile where it is empty.
	Type InstallType `json:"type,omitempty"`
	// Module names the update module of an InstallModule.
	Module string `json:"module,omitempty"`
	// Params are what the module finds as its meta-data, and what scripts find
	// in the environment as REDFLAG_PARAM_<name>.
	Params map[string]string `json:"params,omitempty"`
	// UnpackedSize and UnpackedFiles bound what an archive may become, in
	// bytes and entries.
	UnpackedSize  int64 `json:"unpacked_size,omitempty"`
	UnpackedFiles int   `json:"unpacked_files,omitempty"`
	// Checks must all pass within CheckWithin of the install, else the machine
	// goes back to the version before.
	Checks      []HealthCheck `json:"checks,omitempty"`
	CheckWithin Duration      `json:"check_within,omitempty"`
	// StepTimeout bounds each script, package manager or module call.
	StepTimeout Duration `json:"step_timeout,omitempty"`
}

// Kind returns the type, InstallFile where none is named. It may be called on
// nil: a payload that says nothing is a file.
func (i *Install) Kind() InstallType {
	if i == nil || i.Type == "" {
		return InstallFile
	}
	return i.Type
}

// CheckKind names what a health check does.
type CheckKind string

// The health checks.
const (
	CheckCommand CheckKind = "command" // a command line for /bin/sh, or cmd.exe on Windows, exits with 0
	CheckHTTP    CheckKind = "http"    // a GET of the URL answers with 2xx
	CheckTCP     CheckKind = "tcp"     // host:port accepts a connection
	CheckUnit    CheckKind = "unit"    // the systemd unit is active
)

// HealthCheck is one condition that a machine must meet after an install.
type HealthCheck struct {
	Kind   CheckKind `json:"kind"`
	Target string    `json:"target"`
}

// String renders the check as ParseHealthCheck reads it.
func (h HealthCheck) String() string { return string(h.Kind) + ":" + h.Target }

// ParseHealthCheck reads "command:LINE", "http:URL", "tcp:HOST:PORT" or
// "unit:NAME".
func ParseHealthCheck(s string) (HealthCheck, error) {
	kind, target, _ := strings.Cut(s, ":")
	h := HealthCheck{CheckKind(kind), target}
	return h, h.Validate()
}

// A unit's name is passed to systemctl: it must not look like an option.
var unitName = regexp.MustCompile(`^[A-Za-z0-9_@\\][A-Za-z0-9:_.@\\-]{0,254}$`)

// Validate returns a CodeInvalid error for a check that cannot be made.
func (h HealthCheck) Validate() error {
	invalid := func(hint string) error {
		return Errorf(CodeInvalid, "health check %.160q is not valid", h.String()).WithHint("%s", hint)
	}
	if h.Target == "" || len(h.Target) > maxCheckTarget {
		return invalid("write KIND:TARGET, such as tcp:127.0.0.1:80")
	}
	switch h.Kind {
	case CheckCommand:
	case CheckHTTP:
		if u, err := url.Parse(h.Target); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			return invalid("write http:http://127.0.0.1:8080/healthz")
		}
	case CheckTCP:
		if host, port, err := net.SplitHostPort(h.Target); err != nil || host == "" || port == "" {
			return invalid("write tcp:127.0.0.1:80")
		}
	case CheckUnit:
		if !unitName.MatchString(h.Target) {
			return invalid("write unit:nginx.service")
		}
	default:
		return invalid("the kinds are command, http, tcp and unit")
	}
	return nil
}

// Validate returns a CodeInvalid error for what must be neither signed nor
// installed.
func (i *Install) Validate() error {
	if i == nil {
		return nil
	}
	switch i.Kind() {
	case InstallFile, InstallDeb, InstallSelf:
	case InstallArchive, InstallExec:
		if i.UnpackedSize < 1 || i.UnpackedFiles < 1 {
			return Errorf(CodeInvalid, "an archive must declare its unpacked size and number of entries")
		}
	case InstallModule:
		if err := CheckID("update module", i.Module); err != nil {
			return err
		}
	default:
		return Errorf(CodeInvalid, "install type %.160q is not known", i.Type).
			WithHint("the types are file, archive, deb, exec, self and module")
	}
	if i.Module != "" && i.Kind() != InstallModule {
		return Errorf(CodeInvalid, "a payload of type %s names an update module", i.Kind()).WithHint("leave it out, or use --type module")
	}
	return i.validateBounds()
}

func (i *Install) validateBounds() error {
	switch {
	case i.UnpackedSize < 0 || i.UnpackedSize > maxUnpackedSize || i.UnpackedFiles < 0 || i.UnpackedFiles > maxUnpacked:
		return Errorf(CodeInvalid, "an unpacked size of %d bytes in %d entries is out of range", i.UnpackedSize, i.UnpackedFiles)
	case i.CheckWithin < 0 || i.CheckWithin > maxInstallTime || i.StepTimeout < 0 || i.StepTimeout > maxInstallTime:
		return Errorf(CodeInvalid, "a time-out of the install is out of range").WithHint("use at most 24h")
	case len(i.Checks) > maxChecks || len(i.Params) > maxParams:
		return Errorf(CodeInvalid, "an install has at most %d checks and %d parameters", maxChecks, maxParams)
	}
	for k, v := range i.Params {
		if err := CheckID("parameter", k); err != nil {
			return err
		}
		if len(v) > maxParam || strings.ContainsRune(v, 0) {
			return Errorf(CodeInvalid, "parameter %s is too long or not text", k)
		}
	}
	for _, c := range i.Checks {
		if err := c.Validate(); err != nil {
			return err
		}
	}
	return nil
}
