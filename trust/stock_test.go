package trust_test

import (
	"net/http"
	"net/http/httptest"
	"path"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"redflag/trust/trusttest"
)

// TestStockClient: what we sign is TUF, not our dialect of it. go-tuf's own
// updater with its own fetcher follows us through two publications and a
// rotation, and downloads the payload.
func TestStockClient(t *testing.T) {
	r := trusttest.NewRepository(t)
	pinned := r.Root()
	publish(r, "1.0.0")
	r.RotateRoot(true)
	want := publish(r, "2.0.0")
	payload := []byte("payload of 2.0.0")

	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/payloads/app/"+want.SHA256+".2.0.0" {
			_, _ = w.Write(payload)
			return
		}
		data := r.File(path.Base(req.URL.Path))
		if data == nil {
			http.NotFound(w, req)
			return
		}
		_, _ = w.Write(data)
	}))
	defer srv.Close()

	cfg, err := config.New(srv.URL+"/metadata", pinned)
	require.NoError(t, err)
	cfg.LocalMetadataDir, cfg.LocalTargetsDir = t.TempDir(), t.TempDir()
	cfg.RemoteTargetsURL = srv.URL + "/payloads"
	up, err := updater.New(cfg)
	require.NoError(t, err)
	require.NoError(t, up.Refresh())
	info, err := up.GetTargetInfo(want.Path)
	require.NoError(t, err)
	require.Equal(t, want.Length, info.Length)
	require.Equal(t, want.SHA256, info.Hashes["sha256"].String())
	_, got, err := up.DownloadTarget(info, "", "")
	require.NoError(t, err)
	require.Equal(t, payload, got)

	// Its directory and ours are interchangeable.
	v := open(t, cfg.LocalMetadataDir, nil)
	target, err := v.Target(t.Context(), r.Fetch, want.Path)
	require.NoError(t, err)
	require.Equal(t, want, target)
}
