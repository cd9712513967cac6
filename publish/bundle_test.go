package publish

import (
	"archive/tar"
	"bytes"
	"crypto"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/api"
	"redflag/trust"
	"redflag/trust/signing"
	"redflag/trust/trusttest"
)

// entry is a file of a bundle.
type entry struct {
	name string
	data []byte
	typ  byte
}

func packBundle(tb testing.TB, entries ...entry) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Mode: 0o644, Size: int64(len(e.data)), Typeflag: e.typ}
		if e.typ == tar.TypeSymlink {
			h.Linkname, h.Size = "/etc/passwd", 0
		}
		require.NoError(tb, w.WriteHeader(h))
		_, err := w.Write(e.data[:h.Size])
		require.NoError(tb, err)
	}
	require.NoError(tb, w.Close())
	return b.Bytes()
}

// genuine is a repository with a rotated root and one payload, and its bundle.
func genuine(tb testing.TB) (*trusttest.Repository, []byte, []entry) {
	tb.Helper()
	r := trusttest.NewRepository(tb)
	payload := []byte("payload of 1.0.0")
	r.RotateRoot(false)
	r.Publish("app", "1.0.0", "app", payload, "0123456789abcdef0123456789abcdef01234567", 1<<18)
	return r, payload, []entry{
		{name: "metadata/1.root.json", data: r.Root()},
		{name: "metadata/2.root.json", data: r.File("2.root.json")},
		{name: "metadata/targets.json", data: r.Targets()},
		{name: "payloads/app/1.0.0", data: payload},
	}
}

// read reads a whole bundle as Import does.
func read(b []byte, pin string) (paths []string, err error) {
	r, err := openBundle(bytes.NewReader(b), pin, time.Now())
	if err != nil {
		return nil, err
	}
	for {
		t, body, err := r.payload()
		if errors.Is(err, io.EOF) {
			return paths, nil
		}
		if err == nil {
			err = trust.CopyVerified(io.Discard, body, t.Length, t.SHA256)
		}
		if err != nil {
			return paths, err
		}
		paths = append(paths, t.Path)
	}
}

func TestBundle(t *testing.T) {
	repo, payload, entries := genuine(t)
	pin := trust.RootHash(repo.Root())
	paths, err := read(packBundle(t, entries...), pin)
	require.NoError(t, err)
	require.Equal(t, []string{"app/1.0.0"}, paths)

	with := func(change func([]entry) []entry) []byte {
		return packBundle(t, change(append([]entry(nil), entries...))...)
	}
	stranger, _, theirs := genuine(t)
	for what, tc := range map[string]struct {
		bundle []byte
		want   error
	}{
		"cut short":     {packBundle(t, entries...)[:2048], ErrBundle},
		"no tar":        {[]byte("not a tar at all"), ErrBundle},
		"nothing":       {nil, ErrBundle},
		"a gap":         {with(func(e []entry) []entry { e[1].name = "metadata/3.root.json"; return e }), ErrBundle},
		"roots swapped": {with(func(e []entry) []entry { e[0], e[1] = e[1], e[0]; return e }), ErrBundle},
		"no root":       {with(func(e []entry) []entry { return e[2:] }), ErrBundle},
		"other targets": {with(func(e []entry) []entry { e[2] = theirs[2]; return e }), ErrBundle},
		"a root that the first does not vouch for": {with(func(e []entry) []entry { e[1].data = stranger.File("2.root.json"); return e }), ErrBundle},
		"a root too long":                          {with(func(e []entry) []entry { e[0].data = make([]byte, trust.MaxRootLength+1); return e }), ErrBundle},
		"targets too long":                         {with(func(e []entry) []entry { e[2].data = make([]byte, trust.MaxTargetsLength+1); return e }), ErrBundle},
		"other payload":                            {with(func(e []entry) []entry { e[3].data = bytes.ToUpper(payload); return e }), trust.ErrHash},
		"longer":                                   {with(func(e []entry) []entry { e[3].data = append(payload, '!'); return e }), ErrBundle},
		"unsigned":                                 {with(func(e []entry) []entry { e[3].name = "payloads/app/2.0.0"; return e }), ErrBundle},
		"twice":                                    {with(func(e []entry) []entry { return append(e, e[3]) }), ErrBundle},
		"outside":                                  {with(func(e []entry) []entry { e[3].name = "payloads/../app/1.0.0"; return e }), ErrBundle},
		"a link":                                   {with(func(e []entry) []entry { e[3].typ = tar.TypeSymlink; return e }), ErrBundle},
	} {
		_, err := read(tc.bundle, pin)
		require.ErrorIs(t, err, tc.want, what)
	}
	_, err = read(packBundle(t, entries...), trust.RootHash(stranger.Root()))
	require.Equal(t, api.CodeDenied, api.CodeOf(err), "of another operator")

	repo.Advance(-100 * 24 * time.Hour)
	repo.Publish("app", "1.1.0", "app", payload, "0123456789abcdef0123456789abcdef01234567", 1<<18)
	_, err = read(with(func(e []entry) []entry { e[2].data = repo.Targets(); return e }), pin)
	require.ErrorIs(t, err, ErrBundle, "expired")
}

// A delegated role's file is believed as far as the targets say, and stands before
// the payloads.
func TestBundleWithRoles(t *testing.T) {
	repo, _, entries := genuine(t)
	dir := t.TempDir()
	key, err := signing.NewKey(dir, "dev", signing.Options{})
	require.NoError(t, err)
	c := signing.DelegationChange{Role: "tools", Grant: []crypto.PublicKey{key.Public}}
	staged, err := repo.Keys().ChangeDelegation(signing.Staged{}, c, time.Now())
	require.NoError(t, err)
	require.NoError(t, repo.Keys().Commit(staged.Targets))
	for name, data := range map[string][]byte{"1.root.json": repo.Root(), "root.json": repo.File("2.root.json"), "targets.json": staged.Targets} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
	}
	dev, err := signing.Open(dir, signing.Options{})
	require.NoError(t, err)
	tool := []byte("a tool")
	target := trusttest.Target("tools", "1", "tool", tool, "0123456789abcdef0123456789abcdef01234567", 1<<18)
	file, err := dev.AddTargets("tools", nil, []trust.Target{target}, time.Now())
	require.NoError(t, err)

	entries[2].data = staged.Targets
	role, payload := entry{name: "metadata/roles/tools.json", data: file}, entry{name: "payloads/tools/1", data: tool}
	pin := trust.RootHash(repo.Root())
	with := func(more ...entry) []byte {
		return packBundle(t, append(append([]entry(nil), entries[:3]...), more...)...)
	}
	paths, err := read(with(role, entries[3], payload), pin)
	require.NoError(t, err)
	require.Equal(t, []string{"app/1.0.0", "tools/1"}, paths)
	for what, bundle := range map[string][]byte{
		"after its payload": with(payload, role),
		"another's name":    with(entry{name: "metadata/roles/app.json", data: file}, payload),
		"spoilt":            with(entry{name: role.name, data: bytes.Replace(file, []byte("tools/1"), []byte("tools/2"), 1)}, payload),
		"before targets":    packBundle(t, entries[0], entries[1], role, entries[2], payload),
	} {
		_, err := read(bundle, pin)
		require.ErrorIs(t, err, ErrBundle, what)
	}
}

// FuzzBundle: what a bundle yields is signed, whatever the bytes are.
func FuzzBundle(f *testing.F) {
	repo, payload, entries := genuine(f)
	f.Add(packBundle(f, entries...))
	f.Add(packBundle(f, entries[:3]...))
	f.Add(packBundle(f, entries[3]))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := openBundle(bytes.NewReader(b), trust.RootHash(repo.Root()), time.Now())
		if err != nil {
			return
		}
		for range 3 {
			target, body, err := r.payload()
			if err != nil {
				return
			}
			require.Equal(t, "app/1.0.0", target.Path)
			var out bytes.Buffer
			if trust.CopyVerified(&out, body, target.Length, target.SHA256) == nil {
				require.Equal(t, payload, out.Bytes())
			}
		}
	})
}
