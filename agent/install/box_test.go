package install

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"redflag/agent/install/installtest"
	"redflag/api"
	"redflag/durable"
)

// box is a machine in a folder with a store and a journal of one job.
type box struct{ installtest.Box }

func newBox(t *testing.T) box {
	t.Helper()
	return box{installtest.Box{Dir: t.TempDir()}}
}

func (b box) engine(tb testing.TB) *Engine {
	tb.Helper()
	s, err := OpenStore(b.Path("artifacts"))
	require.NoError(tb, err)
	exe := b.Path("base")
	if next, err := Successor(s.Dir, exe); err == nil && next != "" {
		exe = next
	}
	return &Engine{Store: s, Host: Host{
		DeviceType: "test-device", ModulesDir: b.Path("modules"), Executable: exe,
		Dpkg:       b.DpkgArgs(),
		BootIDFile: b.Path("boot_id"), RevertPause: 1,
		Prove:  func(context.Context, string) error { return nil },
		Polled: func(context.Context) error { return nil },
	}}
}

// begin journals a job.
func (b box) begin(tb testing.TB, p Progress) {
	tb.Helper()
	require.NoError(tb, b.save(&p))
}

func (b box) save(p *Progress) error {
	raw, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return durable.WriteFile(b.Path("job.json"), raw, 0o600)
}

// work goes on with the journalled job, as a start of the agent does, until
// its outcome. The agent starts again as often as it has to.
func (b box) work(tb testing.TB, payload []byte, step func(string) error) error {
	tb.Helper()
	for {
		raw, err := os.ReadFile(b.Path("job.json"))
		require.NoError(tb, err)
		job := &Job{
			Save: b.save, Log: hclog.NewNullLogger(),
			Fill: func(w io.Writer) error { _, err := w.Write(payload); return err },
		}
		require.NoError(tb, json.Unmarshal(raw, &job.Progress))
		e := b.engine(tb)
		e.OnStep(step)
		err = e.Run(tb.Context(), job)
		if !errors.Is(err, ErrRestart) {
			return err
		}
	}
}

// install runs a job without a crash.
func (b box) install(tb testing.TB, r Record, payload []byte) error {
	tb.Helper()
	cur, err := b.engine(tb).Store.Current(r.Name)
	require.NoError(tb, err)
	b.begin(tb, Progress{New: r, Old: cur})
	return b.work(tb, payload, nil)
}

func recordFor(kind api.InstallType, version string, payload []byte) Record {
	sum := sha256.Sum256(payload)
	return Record{
		Name: "app", Version: version, FileName: "app.bin", Length: int64(len(payload)),
		SHA256: hex.EncodeToString(sum[:]), InfoHash: "info " + version,
		Install: &api.Install{Type: kind, UnpackedSize: 1 << 20, UnpackedFiles: 100},
	}
}
