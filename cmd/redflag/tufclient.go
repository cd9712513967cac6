package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"redflag/api"
	"redflag/trust"
)

// newTUFClientCommand is the face of the verifier that TUF's public conformance
// suite drives. It is hidden: operators have no use for it.
func newTUFClientCommand() *cobra.Command {
	var c tufClient
	cmd := &cobra.Command{
		Use: "tuf-client", Hidden: true, Short: "Drive the verifier from TUF's conformance suite",
		Example: "  redflag tuf-client --metadata-dir D init root.json",
	}
	f := cmd.PersistentFlags()
	f.StringVar(&c.metadataDir, "metadata-dir", "", "where trusted metadata is kept")
	f.StringVar(&c.metadataURL, "metadata-url", "", "where metadata comes from")
	f.StringArrayVar(&c.targetNames, "target-name", nil, "path of a target; may be repeated")
	f.StringVar(&c.targetBase, "target-base-url", "", "where targets come from")
	f.StringVar(&c.targetDir, "target-dir", "", "where targets are put")
	cmd.AddCommand(&cobra.Command{
		Use: "init ROOT", Short: "Pin a root", Args: exactArgs("ROOT"), Example: "  redflag tuf-client --metadata-dir D init root.json",
		RunE: func(_ *cobra.Command, args []string) error { return c.init(args[0]) },
	}, &cobra.Command{
		Use: "refresh", Short: "Bring the metadata up to date", Args: exactArgs(), Example: "  redflag tuf-client --metadata-dir D --metadata-url U refresh",
		RunE: func(cmd *cobra.Command, _ []string) error { return c.refresh(cmd.Context()) },
	}, &cobra.Command{
		Use: "download", Short: "Fetch a target", Args: exactArgs(), Example: "  redflag tuf-client --metadata-dir D --metadata-url U --target-name N --target-base-url B --target-dir T download",
		RunE: func(cmd *cobra.Command, _ []string) error { return c.download(cmd.Context()) },
	})
	return cmd
}

type tufClient struct {
	metadataDir, metadataURL string
	targetNames              []string
	targetBase, targetDir    string
}

func (c *tufClient) init(rootFile string) error {
	root, err := os.ReadFile(rootFile)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(c.metadataDir, "root.json")); err != nil {
		return err
	}
	_, err = trust.Open(c.metadataDir, root)
	return err
}

func (c *tufClient) open() (*trust.Verifier, error) {
	v, err := trust.Open(c.metadataDir, nil)
	if err != nil {
		return nil, err
	}
	if os.Getenv("REDFLAG_TEST_DATE") == "1" {
		now, err := dateNow()
		if err != nil {
			return nil, err
		}
		v.UseClock(func() time.Time { return now })
	}
	return v, nil
}

func (c *tufClient) refresh(ctx context.Context) error {
	v, err := c.open()
	if err != nil {
		return err
	}
	return v.Refresh(ctx, c.fetch)
}

// download fetches the targets in their order, with one verifier, and stops at
// the first that cannot be had.
func (c *tufClient) download(ctx context.Context) error {
	v, err := c.open()
	if err != nil {
		return err
	}
	for _, name := range c.targetNames {
		if err := c.downloadOne(ctx, v, name); err != nil {
			return err
		}
	}
	return nil
}

func (c *tufClient) downloadOne(ctx context.Context, v *trust.Verifier, target string) error {
	file, err := v.File(ctx, c.fetch, target)
	if err != nil {
		return err
	}
	out := filepath.Join(c.targetDir, url.PathEscape(target))
	if same(out, file) {
		return nil
	}
	dir, name := path.Split(target)
	body, err := get(ctx, strings.TrimSuffix(c.targetBase, "/")+"/"+dir+file.Hash+"."+name)
	if err != nil {
		return err
	}
	defer body.Close()
	tmp, err := os.CreateTemp(c.targetDir, ".target-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) //nolint:errcheck // after the rename there is nothing to remove
	if err := errors.Join(file.Copy(tmp, body), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), out)
}

// same reports whether a target is there already.
func same(path string, file trust.File) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return file.Copy(io.Discard, f) == nil
}

func (c *tufClient) fetch(ctx context.Context, name string, limit int64) ([]byte, error) {
	body, err := get(ctx, strings.TrimSuffix(c.metadataURL, "/")+"/"+name)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(io.LimitReader(body, limit+1))
}

func get(ctx context.Context, address string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	_ = resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusForbidden {
		return nil, fmt.Errorf("get %s: %w", address, fs.ErrNotExist)
	}
	return nil, api.Errorf(api.CodeUnavailable, "get %s: %s", address, resp.Status)
}
