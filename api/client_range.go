package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
)

// Range fills b with what the first server has at path from at on. One server
// is asked: the caller knows which of them is near.
func (c *Client) Range(ctx context.Context, path string, at int64, b []byte) error {
	if len(c.Servers) == 0 {
		return c.explain(http.MethodGet, nil)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.Servers[0]+path, nil)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", at, at+int64(len(b))-1))
	SetTraceparent(ctx, req.Header)
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return c.explain(http.MethodGet, &unreachedError{cause: err})
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusPartialContent {
		_, err := readAll(reply{resp.StatusCode, resp.ContentLength, resp.Body}, MaxBody)
		if err == nil {
			err = Errorf(CodeInternal, "the server answered a range with %d", resp.StatusCode)
		}
		return err
	}
	if _, err := io.ReadFull(resp.Body, b); err != nil {
		return c.explain(http.MethodGet, &unreachedError{cause: fmt.Errorf("read range: %w", err), sent: true})
	}
	return nil
}
