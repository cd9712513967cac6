package main

import (
	"context"
	"net/http"
	"net/url"

	"redflag/api"
)

// listAll follows the cursor of a listing to its end.
func listAll[T any](ctx context.Context, client *api.Client, path string, query url.Values) ([]T, error) {
	return listSome[T](ctx, client, path, query, 0)
}

// listSome follows it until there are limit items; 0 is no limit.
func listSome[T any](ctx context.Context, client *api.Client, path string, query url.Values, limit int) ([]T, error) {
	all := []T{}
	query.Set("limit", "1000")
	for {
		var page struct {
			Items []T    `json:"items"`
			Next  string `json:"next"`
		}
		if err := client.Do(ctx, http.MethodGet, path+"?"+query.Encode(), nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if limit > 0 && len(all) >= limit {
			return all[:limit], nil
		}
		if page.Next == "" {
			return all, nil
		}
		query.Set("after", page.Next)
	}
}
