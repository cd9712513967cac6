//go:build unix

// Command deltabench compares the deltas that redflag makes with those of
// zstd --patch-from and xdelta3, on two real versions of something large: the
// Go toolchain, as its module zips and unpacked, or any two files.
//
// It is part of no binary that is shipped.
package main

import (
	"archive/tar"
	"archive/zip"
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"redflag/bench/row"
	"redflag/payload/delta"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "deltabench:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	f := flag.NewFlagSet("deltabench", flag.ContinueOnError)
	old := f.String("old", "", "old version; without it two Go toolchains are fetched by the go command")
	fresh := f.String("new", "", "new version")
	level := f.Int("level", 11, "zstd level of redflag and zstd alike")
	from := f.String("from", "v0.0.1-go1.26.7.linux-amd64", "older toolchain")
	to := f.String("to", "v0.0.1-go1.26.8.linux-amd64", "newer toolchain")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() == 5 { // one half of the work, in a process of its own
		return worker(f.Args())
	}
	dir, err := os.MkdirTemp("", "deltabench-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // it is the system's folder for such
	fmt.Printf("%-34s %-22s %14s %8s %9s %10s %10s\n", "versions", "by", "delta bytes", "of new", "seconds", "make MiB", "apply MiB")
	if *old != "" {
		return compare(dir, filepath.Base(*fresh), *old, *fresh, *level)
	}
	zips, err := toolchains(*from, *to)
	if err != nil {
		return err
	}
	if err := compare(dir, "toolchain zips (deflated)", zips[0], zips[1], *level); err != nil {
		return err
	}
	tars := [2]string{filepath.Join(dir, "old.tar"), filepath.Join(dir, "new.tar")}
	for i := range zips {
		if err := unzip(zips[i], tars[i]); err != nil {
			return err
		}
	}
	return compare(dir, plainTar, tars[0], tars[1], *level)
}

// plainTar is the pair of versions whose figures make bench shows.
const plainTar = "the same as plain tar"

// toolchains asks the go command for two module zips.
func toolchains(versions ...string) (zips []string, err error) {
	for _, v := range versions {
		cmd := exec.Command("go", "mod", "download", "-json", "golang.org/toolchain@"+v) //nolint:noctx // a tool for a terminal
		cmd.Env, cmd.Dir = append(os.Environ(), "GOFLAGS=-mod=mod"), os.TempDir()
		out, err := cmd.Output()
		var m struct{ Zip, Error string }
		if json.Unmarshal(out, &m) != nil || m.Zip == "" {
			return nil, fmt.Errorf("no module proxy has golang.org/toolchain@%s: %s %w; give two files with -old and -new", v, m.Error, cmp.Or(err, errors.New("no answer")))
		}
		zips = append(zips, m.Zip)
	}
	return zips, nil
}

// unzip makes a plain tar of a zip, in the same order.
func unzip(from, to string) error {
	z, err := zip.OpenReader(from)
	if err != nil {
		return err
	}
	defer func() { _ = z.Close() }()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer out.Close()
	w := tar.NewWriter(out)
	for _, e := range z.File {
		if err := copyEntry(w, e); err != nil {
			return err
		}
	}
	return errors.Join(w.Close(), out.Close())
}

func copyEntry(w *tar.Writer, e *zip.File) error {
	// The version stands in each name; an operator's archive has none there.
	name := e.Name[min(len(e.Name), len("golang.org/toolchain@v0.0.1-go1.26.7.linux-amd64/")):]
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(e.UncompressedSize64), Format: tar.FormatPAX}); err != nil {
		return err
	}
	r, err := e.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(w, r) //nolint:gosec // the go command has checked its hash
	return err
}

func compare(dir, what, old, fresh string, level int) error {
	st, err := os.Stat(fresh)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var applied int64
	l, out, back := strconv.Itoa(level), filepath.Join(dir, "delta"), filepath.Join(dir, "back")
	for _, tool := range []struct {
		name, row   string
		make, apply []string
	}{
		{"redflag, level " + l, "redflag", []string{self, "make", old, fresh, out, l}, []string{self, "apply", old, out, back, strconv.FormatInt(st.Size(), 10)}},
		{"zstd -" + l + " --patch-from", "zstd --patch-from", []string{"zstd", "-q", "-f", "-" + l, "--long=31", "--patch-from=" + old, fresh, "-o", out}, []string{"zstd", "-q", "-f", "-d", "--long=31", "--patch-from=" + old, out, "-o", back}},
		{"xdelta3 -9", "xdelta3 -9", []string{"xdelta3", "-q", "-f", "-e", "-9", "-B", "1073741824", "-s", old, fresh, out}, []string{"xdelta3", "-q", "-f", "-d", "-B", "1073741824", "-s", old, out, back}},
	} {
		if _, err := exec.LookPath(tool.make[0]); err != nil {
			fmt.Printf("%-34s %-22s is not installed\n", what, tool.name)
			continue
		}
		began := time.Now()
		making, err := peak(tool.make)
		if err != nil {
			return err
		}
		took := time.Since(began)
		applying, err := peak(tool.apply)
		if err != nil {
			return err
		}
		if err := same(fresh, back); err != nil {
			return fmt.Errorf("%s: %w", tool.name, err)
		}
		d, err := os.Stat(out)
		if err != nil {
			return err
		}
		if what == plainTar {
			share := 100 * float64(d.Size()) / float64(st.Size())
			if err := row.Add(tool.row+", of the new version", share, "%", ""); err != nil {
				return err
			}
			if tool.make[0] == self {
				applied = applying
			}
		}
		fmt.Printf("%-34s %-22s %14d %7.2f%% %9.1f %10d %10d\n", what, tool.name, d.Size(), 100*float64(d.Size())/float64(st.Size()), took.Seconds(), making>>20, applying>>20)
	}
	if what == plainTar {
		return row.Add("memory to apply it", float64(applied>>20), "MiB", "")
	}
	return nil
}

// peak runs a command and returns the most memory that it had, in bytes.
func peak(line []string) (int64, error) {
	cmd := exec.Command(line[0], line[1:]...) //nolint:noctx // a tool for a terminal
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("%s: %w", line[0], err)
	}
	usage, _ := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	return usage.Maxrss << 10, nil
}

func same(a, b string) error {
	if out, err := exec.Command("cmp", a, b).CombinedOutput(); err != nil { //nolint:noctx // a tool for a terminal
		return fmt.Errorf("what came back is not what went in: %s", out)
	}
	return nil
}

// worker makes or applies one delta.
func worker(args []string) error {
	in, err := os.Open(args[2])
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(args[3])
	if err != nil {
		return err
	}
	defer out.Close()
	n, err := strconv.ParseInt(args[4], 10, 64)
	if err != nil {
		return err
	}
	if args[0] == "make" {
		return delta.MakeFiles(out, args[1], args[2], int(n))
	}
	old, err := os.Open(args[1])
	if err != nil {
		return err
	}
	defer old.Close()
	st, err := old.Stat()
	if err != nil {
		return err
	}
	return delta.Apply(out, old, st.Size(), n, in)
}
