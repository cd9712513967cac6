package api

import (
	"context"
	"maps"
	"net/http"
	"net/url"
)

// List follows the cursor of a listing until there are limit items, or to its
// end for 0. query may be nil.
func List[T any](ctx context.Context, c *Client, path string, query url.Values, limit int) ([]T, error) {
	all, q := []T{}, url.Values{"limit": {"1000"}}
	maps.Copy(q, query)
	for {
		var page struct {
			Items []T    `json:"items"`
			Next  string `json:"next"`
		}
		if err := c.Do(ctx, http.MethodGet, path+"?"+q.Encode(), nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if limit > 0 && len(all) >= limit {
			return all[:limit], nil
		}
		if page.Next == "" {
			return all, nil
		}
		q.Set("after", page.Next)
	}
}
