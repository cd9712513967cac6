package system

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"redflag/agent/process"
	"redflag/api"
)

const (
	// maxOutput bounds what is read of a package manager's listing, in bytes.
	maxOutput = 8 << 20
	listTime  = 5 * time.Minute
	// dnfUpdates is the exit code by which dnf says that there are updates.
	dnfUpdates = 100
)

// errTooLong says that a package manager had more to say than anybody reads.
var errTooLong = errors.New("the package manager's answer is too long")

// Scan says what the machine is and what is outdated on it. It changes nothing,
// waits for no lock and fetches nothing: it knows what the machine's last
// refresh of its lists knew.
func (s *System) Scan(ctx context.Context) *api.Inventory {
	inv := &api.Inventory{At: time.Now().UTC(), OS: s.Facts()}
	var updates []api.PackageUpdate
	var err error
	switch {
	case s.program("apt-get") != "":
		inv.Manager, inv.Refreshed = "apt", s.refreshed("var/lib/apt/periodic/update-success-stamp", "var/lib/apt/lists")
		updates, err = s.aptUpdates(ctx)
	case s.program("dnf") != "":
		inv.Manager, inv.Refreshed = "dnf", s.refreshed("var/cache/dnf/last_makecache", "var/cache/dnf")
		updates, err = s.dnfUpdates(ctx)
	}
	if err != nil {
		inv.Problem = err.Error()
	}
	inv.Updates, inv.Pending = updates, len(updates)
	for _, u := range updates {
		if u.Security {
			inv.Security++
		}
	}
	return inv.Trim()
}

// refreshed is when the first of the paths that is there was changed.
func (s *System) refreshed(paths ...string) time.Time {
	for _, p := range paths {
		if info, err := os.Stat(s.path(p)); err == nil {
			return info.ModTime().UTC()
		}
	}
	return time.Time{}
}

func (s *System) aptUpdates(ctx context.Context) ([]api.PackageUpdate, error) {
	argv := append([]string{s.program("apt-get")}, s.Apt...)
	argv = append(argv, "--simulate", "-o", "Debug::NoLocking=true", "-o", "APT::Get::Show-User-Simulation-Note=false", "dist-upgrade")
	out, err := listing(ctx, argv, 0)
	if err != nil {
		return nil, err
	}
	return parseApt(strings.NewReader(out))
}

func (s *System) dnfUpdates(ctx context.Context) ([]api.PackageUpdate, error) {
	argv := append([]string{s.program("dnf")}, s.Dnf...)
	out, err := listing(ctx, append(argv, "--quiet", "--cacheonly", "--color=never", "check-update"), dnfUpdates)
	if err != nil {
		return nil, err
	}
	return parseDnf(strings.NewReader(out))
}

// listing returns what a program prints, whose exit code is 0 or ok.
func listing(ctx context.Context, argv []string, ok int) (string, error) {
	out, said := &bounded{left: maxOutput}, &process.Tail{}
	err := process.Run(ctx, process.Command{Argv: argv, Timeout: listTime, Out: out, Err: said})
	var exit *exec.ExitError
	if errors.As(err, &exit) && ok != 0 && exit.ExitCode() == ok {
		err = nil
	}
	if err == nil && out.left < 0 {
		err = errTooLong
	}
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, strings.TrimSpace(said.String()))
	}
	return out.b.String(), nil
}

// bounded keeps what is written up to its bound, and drops the rest.
type bounded struct {
	b    strings.Builder
	left int
}

// Write implements io.Writer.
func (w *bounded) Write(p []byte) (int, error) {
	if w.left >= len(p) {
		w.b.Write(p)
	}
	w.left -= len(p)
	return len(p), nil
}

// parseApt reads a simulated upgrade, whose lines of interest are
//
//	Inst NAME [INSTALLED] (CANDIDATE ORIGIN [ARCH]) …
//
// A package without an installed version is one that another one needs.
func parseApt(r io.Reader) ([]api.PackageUpdate, error) {
	var out []api.PackageUpdate
	err := lines(r, func(line string) {
		rest, found := strings.CutPrefix(line, "Inst ")
		name, rest, ok := strings.Cut(rest, " [")
		installed, rest, ok2 := strings.Cut(rest, "] (")
		candidate, origin, ok3 := strings.Cut(rest, " ")
		origin, _, ok4 := strings.Cut(origin, ")")
		name, _, _ = strings.Cut(name, ":")
		if !found || !ok || !ok2 || !ok3 || !ok4 || !api.ValidPackage(name) ||
			!api.ValidPackageVersion(installed) || !api.ValidPackageVersion(candidate) {
			return
		}
		out = append(out, api.PackageUpdate{
			Name: name, Installed: installed, Candidate: candidate,
			Security: strings.Contains(strings.ToLower(origin), "security"),
		})
	})
	return out, err
}

// parseDnf reads check-update, whose lines of interest are
//
//	NAME.ARCH CANDIDATE REPOSITORY
//
// up to the list of what is obsolete.
func parseDnf(r io.Reader) ([]api.PackageUpdate, error) {
	var out []api.PackageUpdate
	over := false
	err := lines(r, func(line string) {
		if strings.HasPrefix(line, "Obsoleting") {
			over = true
		}
		fields := strings.Fields(line)
		if over || len(fields) != 3 {
			return
		}
		dot := strings.LastIndexByte(fields[0], '.')
		if dot <= 0 || !api.ValidPackage(fields[0][:dot]) || !api.ValidPackageVersion(fields[1]) || fields[1][0] > '9' {
			return
		}
		out = append(out, api.PackageUpdate{
			Name: fields[0][:dot], Candidate: fields[1],
			Security: strings.Contains(strings.ToLower(fields[2]), "security"),
		})
	})
	return out, err
}

// lines calls f with each line of r, which holds at most maxOutput bytes.
func lines(r io.Reader, f func(string)) error {
	bound := &io.LimitedReader{R: r, N: maxOutput + 1}
	in := bufio.NewScanner(bound)
	in.Buffer(nil, maxFact)
	for in.Scan() {
		f(in.Text())
	}
	if bound.N <= 0 {
		return errTooLong
	}
	return in.Err()
}
