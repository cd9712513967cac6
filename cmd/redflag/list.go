package main

import (
	"context"
	"net/http"
	"net/url"

	"redflag/api"
)

// listAll follows the cursor of a listing to its end.
func listAll[T any](ctx context.Context, client *api.Client, path string, query url.Values) ([]T, error) {
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
		if page.Next == "" {
			return all, nil
		}
		query.Set("after", page.Next)
	}
}
