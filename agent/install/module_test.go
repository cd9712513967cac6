//go:build unix

package install

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"redflag/agent/install/installtest"
	"redflag/api"
)

// streamModule is a module by the conventions of others: it asks for sizes,
// reads stream-next in a loop, and puts what it got in place later.
const streamModule = `#!/bin/sh
set -e
STATE="$1"
FILES="$2"
dest="$FILES/../../../live"
echo "$STATE" >> "$FILES/../../../calls"
echo "warning: $STATE" >&2
case "$STATE" in
  ProvidePayloadFileSizes) echo "Yes" ;;
  NeedsArtifactReboot) cat "$FILES/../../../needs-reboot" 2>/dev/null || echo "No" ;;
  SupportsRollback) echo "Yes" ;;
  Download) echo "this module wants sizes" 1>&2; exit 1 ;;
  DownloadWithFileSizes)
    while true; do
      line="$(cat stream-next)"
      test -n "$line" || break
      file="$(echo "$line" | cut -d' ' -f1)"
      size="$(echo "$line" | cut -d' ' -f2)"
      cat "$file" > tmp/part
      test "$(wc -c < tmp/part)" -eq "$size"
      cat tmp/part >> tmp/whole
    done
    ;;
  ArtifactInstall)
    test ! -e files
    test ! -e stream-next
    cp "$dest" tmp/backup 2>/dev/null || true
    cp tmp/whole "$dest"
    ;;
  ArtifactVerifyReboot|ArtifactCommit) test ! -e "$FILES/../../../fail-$STATE" ;;
  ArtifactVerifyRollbackReboot)
    n=$(cat "$FILES/../../../fail-$STATE" 2>/dev/null || echo 0)
    if test "$n" -gt 0; then echo $((n-1)) > "$FILES/../../../fail-$STATE"; exit 1; fi
    ;;
  ArtifactRollback) if test -f tmp/backup; then cp tmp/backup "$dest"; fi ;;
esac
exit 0
`

// calls are the states that the module saw since the last look.
func (b box) calls(tb testing.TB) string {
	tb.Helper()
	got, err := os.ReadFile(b.Path("calls"))
	require.NoError(tb, err)
	require.NoError(tb, os.Remove(b.Path("calls")))
	return strings.Join(strings.Fields(string(got)), " ")
}

func (b box) set(tb testing.TB, name, content string) {
	tb.Helper()
	require.NoError(tb, os.WriteFile(b.Path(name), []byte(content), 0o600))
}

// streamed is a machine with streamModule and version 1.0, and a record of 2.0.
func streamed(t *testing.T) (box, Record, []byte) {
	t.Helper()
	b := newBox(t)
	b.Module(t, "stream", streamModule)
	one := installtest.Bundle(t, map[string]string{"a": "1.", "b": "0"})
	r := recordFor(api.InstallModule, "1.0", one)
	r.Install.Module = "stream"
	require.NoError(t, b.install(t, r, one))
	require.Equal(t, "1.0", read(t, b.Path("live")))
	require.Equal(t, "ProvidePayloadFileSizes DownloadWithFileSizes ArtifactInstall NeedsArtifactReboot ArtifactCommit Cleanup", b.calls(t))
	require.NoDirExists(t, b.Path("artifacts", "app", "module"))
	two := installtest.Bundle(t, map[string]string{"a": "2.", "b": "0"})
	r = recordFor(api.InstallModule, "2.0", two)
	r.Install.Module = "stream"
	return b, r, two
}

func read(tb testing.TB, path string) string {
	tb.Helper()
	b, err := os.ReadFile(path)
	require.NoError(tb, err)
	return string(b)
}

func TestModuleStreams(t *testing.T) {
	b, r, payload := streamed(t)
	require.NoError(t, b.install(t, r, payload))
	require.Equal(t, "2.0", read(t, b.Path("live")))
}

// A job that is not wanted any more, and has not begun, leaves nothing; one that is
// held keeps what it has staged.
func TestModuleStoppedBeforeItBegins(t *testing.T) {
	for name, why := range map[string]error{"cancelled": errors.New("nobody wants it"), "held": context.Canceled} {
		t.Run(name, func(t *testing.T) {
			b, r, payload := streamed(t)
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			var noted Stage
			job := &Job{
				Progress: Progress{New: r}, Log: hclog.NewNullLogger(),
				Save: func(p *Progress) error {
					noted = p.Stage
					if p.Stage == StageStaged {
						cancel(why)
					}
					return nil
				},
				Fill: func(w io.Writer) error { _, err := w.Write(payload); return err },
			}
			require.ErrorIs(t, b.engine(t).Run(ctx, job), why)
			calls := b.calls(t)
			require.NotContains(t, calls, "ArtifactInstall")
			if errors.Is(why, context.Canceled) {
				require.NotContains(t, calls, "Cleanup")
				require.DirExists(t, b.Path("artifacts", "app", "module"))
				return
			}
			require.True(t, strings.HasSuffix(calls, "Cleanup"), calls)
			require.NoDirExists(t, b.Path("artifacts", "app", "module"))
			require.Equal(t, StageNew, noted, "the next start must not apply what is gone")
		})
	}
}

func TestModuleFailsToCommit(t *testing.T) {
	b, r, payload := streamed(t)
	b.set(t, "fail-ArtifactCommit", "")
	var back *RolledBackError
	require.ErrorAs(t, b.install(t, r, payload), &back)
	require.Equal(t, "1.0", read(t, b.Path("live")))
	require.Equal(t, "ProvidePayloadFileSizes DownloadWithFileSizes ArtifactInstall NeedsArtifactReboot ArtifactCommit "+
		"SupportsRollback ArtifactRollback ArtifactFailure Cleanup", b.calls(t))
}

func TestModuleReboots(t *testing.T) {
	b, r, payload := streamed(t)
	b.set(t, "needs-reboot", "Yes")
	require.NoError(t, b.install(t, r, payload))
	require.Equal(t, "ProvidePayloadFileSizes DownloadWithFileSizes ArtifactInstall NeedsArtifactReboot ArtifactReboot ArtifactVerifyReboot ArtifactCommit Cleanup", b.calls(t))
}

func TestModuleRebootsBackAtMostThreeTimes(t *testing.T) {
	for failures, stuck := range map[string]bool{"1": false, "9": true} {
		b, r, payload := streamed(t)
		b.set(t, "needs-reboot", "Yes")
		b.set(t, "fail-ArtifactVerifyReboot", "")
		b.set(t, "fail-ArtifactVerifyRollbackReboot", failures)
		err := b.install(t, r, payload)
		var back *RolledBackError
		require.Equal(t, !stuck, errors.As(err, &back), "%v", err)
		calls := b.calls(t)
		want := map[string]int{"1": 2, "9": maxTries}[failures]
		require.Equal(t, want, strings.Count(calls, "ArtifactRollbackReboot ArtifactVerifyRollbackReboot"), calls)
		require.True(t, strings.HasSuffix(calls, "ArtifactFailure Cleanup"), calls)
		require.Equal(t, "1.0", read(t, b.Path("live")))
	}
}

// TestSystemReboot stops the agent where the machine would go down, and starts
// it again in a new boot.
func TestSystemReboot(t *testing.T) {
	b, r, payload := streamed(t)
	b.set(t, "needs-reboot", "Automatic")
	b.set(t, "boot_id", "first")
	down := errors.New("the machine goes down")
	boots := 0
	reboot := func(step string) error {
		if step == "rebooting journalled" {
			if boots++; boots == 2 { // the first save precedes the reboot's own
				return down
			}
		}
		return nil
	}
	cur, err := b.engine(t).Store.Current("app")
	require.NoError(t, err)
	b.begin(t, Progress{New: r, Old: cur})
	require.ErrorIs(t, b.work(t, payload, reboot), down)
	b.set(t, "boot_id", "second")
	require.NoError(t, b.work(t, payload, nil))
	require.Equal(t, "2.0", read(t, b.Path("live")))
	require.True(t, strings.HasSuffix(b.calls(t), "NeedsArtifactReboot ArtifactVerifyReboot ArtifactCommit Cleanup"))
}

func TestModuleMustReadWhatItAsksFor(t *testing.T) {
	for name, download := range map[string]string{
		"half a stream": "cat stream-next > /dev/null; head -c 1 streams/* > /dev/null",
		"no stream":     "cat stream-next > /dev/null",
	} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t)
			b.Module(t, "lazy", "#!/bin/sh\ncd \"$2\"\nif test \"$1\" = Download; then "+download+"; fi\nexit 0\n")
			payload := []byte(strings.Repeat("x", 1<<20))
			r := recordFor(api.InstallModule, "1.0", payload)
			r.Install = &api.Install{Type: api.InstallModule, Module: "lazy"}
			require.ErrorContains(t, b.install(t, r, payload), "did not read all of app.bin")
		})
	}
}

func TestModuleThatIsMissingOrHangs(t *testing.T) {
	b := newBox(t)
	r := recordFor(api.InstallModule, "1.0", []byte("x"))
	r.Install = &api.Install{Type: api.InstallModule, Module: "hang", StepTimeout: api.Duration(200e6)}
	require.Equal(t, api.ErrorUnsupported, classOf(b.install(t, r, []byte("x"))))
	b.Module(t, "hang", "#!/bin/sh\nif test \"$1\" = ArtifactInstall; then sleep 600 & echo $! > \"$2/../../../pid\"; wait; fi\nexit 0\n")
	err := b.install(t, r, []byte("x"))
	require.ErrorContains(t, err, "took longer than 200ms")
	require.ErrorContains(t, err, "could not be restored: there is no way back")
	require.NotEmpty(t, read(t, b.Path("pid")))
}

// TestModuleOfTheManual runs the module that docs/modules.md shows.
func TestModuleOfTheManual(t *testing.T) {
	_, script, ok := strings.Cut(read(t, "../../docs/modules.md"), "```sh\n")
	require.True(t, ok)
	script, _, ok = strings.Cut(script, "```")
	require.True(t, ok)
	b := newBox(t)
	b.Module(t, "copy", script)
	install := func(version string, checks ...api.HealthCheck) error {
		r := recordFor(api.InstallModule, version, []byte(version))
		r.Install = &api.Install{
			Type: api.InstallModule, Module: "copy", Params: map[string]string{"dest": b.Path("live")},
			Checks: checks, CheckWithin: api.Duration(50e6),
		}
		return b.install(t, r, []byte(version))
	}
	require.NoError(t, install("1.0"))
	require.NoError(t, install("2.0"))
	require.Equal(t, "2.0", read(t, b.Path("live")))
	var back *RolledBackError
	require.ErrorAs(t, install("3.0", api.HealthCheck{Kind: api.CheckCommand, Target: "false"}), &back)
	require.Equal(t, "2.0", read(t, b.Path("live")))
}
