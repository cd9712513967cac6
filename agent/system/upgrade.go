package system

import (
	"context"
	"fmt"
	"strings"
	"time"

	"redflag/agent/process"
	"redflag/api"
)

// upgradeTime bounds the upgrade of one package with what it needs.
const upgradeTime = time.Hour

// Upgrade brings an installed package of the operating system to a version, ""
// for the newest that the machine's own sources have. Those are what decides
// whether a package is genuine. Repeating it is harmless; there is no way back.
// What the package manager said last goes to said.
func (s *System) Upgrade(ctx context.Context, name, version string, said *process.Tail) error {
	if !api.ValidPackage(name) || (version != "" && !api.ValidPackageVersion(version)) {
		return api.Failf(api.ErrorRefused, "%.130q %.130q is not a package and a version", name, version)
	}
	switch {
	case s.program("apt-get") != "":
		return s.aptUpgrade(ctx, name, version, said)
	case s.program("dnf") != "":
		return s.dnfUpgrade(ctx, name, version, said)
	}
	return api.Failf(api.ErrorUnsupported, "this machine has neither apt nor dnf")
}

// dpkgRepair is what apt says in every language that a person has to type.
const dpkgRepair = "dpkg --configure -a"

func (s *System) aptUpgrade(ctx context.Context, name, version string, said *process.Tail) error {
	subject := name
	if version != "" {
		subject += "=" + version
	}
	argv := append([]string{s.program("apt-get")}, s.Apt...)
	argv = append(argv, "--quiet", "--yes", "--only-upgrade", "--no-install-recommends",
		"-o", "DPkg::Lock::Timeout=600", "-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold",
		"install", "--", subject)
	before, err := s.installedDeb(ctx, name)
	if err != nil {
		return err
	}
	run := func(argv []string) error {
		return process.Run(ctx, process.Command{
			// needrestart would have systemd restart this agent, which waits for it.
			Argv: argv, Env: []string{"DEBIAN_FRONTEND=noninteractive", "APT_LISTCHANGES_FRONTEND=none", "NEEDRESTART_SUSPEND=1"}, Timeout: upgradeTime, Out: said,
		})
	}
	repair := append([]string{s.program("dpkg")}, s.Dpkg...)
	repair = append(repair, "--force-confdef", "--force-confold", "--configure", "--pending")
	if before == version { // it may be half configured: the power went while it was done
		argv = repair
	}
	err = run(argv)
	if err != nil && strings.Contains(said.String(), dpkgRepair) { // the power went while it worked
		if err = run(repair); err == nil {
			err = run(argv)
		}
	}
	if err != nil {
		return fmt.Errorf("upgrade %s: %w: %s", name, err, strings.TrimSpace(said.String()))
	}
	after, err := s.installedDeb(ctx, name)
	if err == nil && version != "" && after != version {
		err = fmt.Errorf("%s is %s after the upgrade, not %s", name, after, version)
	}
	return err
}

// installedDeb returns the version of a package that is installed. apt knows
// which root it works on, so it is asked, and not dpkg.
func (s *System) installedDeb(ctx context.Context, name string) (string, error) {
	argv := append([]string{s.path("usr/bin/apt-cache")}, s.Apt...)
	out, err := listing(ctx, append(argv, "policy", "--", name), 0)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(out) {
		v, ok := strings.CutPrefix(strings.TrimSpace(line), "Installed: ")
		if ok && v != "(none)" {
			return v, nil
		}
	}
	return "", api.Failf(api.ErrorRefused, "package %s is not installed: only what is there is upgraded", name)
}

func (s *System) dnfUpgrade(ctx context.Context, name, version string, said *process.Tail) error {
	subject := name
	if version != "" {
		subject += "-" + version
	}
	argv := append([]string{s.program("dnf")}, s.Dnf...)
	err := process.Run(ctx, process.Command{Argv: append(argv, "--quiet", "--assumeyes", "upgrade", "--", subject), Timeout: upgradeTime, Out: said})
	if err != nil {
		return fmt.Errorf("upgrade %s: %w: %s", name, err, strings.TrimSpace(said.String()))
	}
	return nil
}
