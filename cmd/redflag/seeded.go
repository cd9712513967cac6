package main

import (
	"context"
	"net/http"
	"slices"
	"time"

	"redflag/api"
)

// seedPatience is how long publish waits with no further node getting the
// payload.
const seedPatience = time.Minute

// waitSeeded waits until every living node has the whole payload, and tells
// how many do. It returns the nodes that it gave up waiting for: they go on by
// themselves.
func waitSeeded(ctx context.Context, client *api.Client, a api.Artifact, tell func(done, total int64)) (missing []string, err error) {
	most, since := -1, time.Now()
	for {
		var all []api.Health
		err := client.Do(ctx, http.MethodGet, "/v1/cluster/health", nil, &all)
		if err != nil && api.CodeOf(err) != api.CodeUnavailable {
			return nil, err
		}
		missing = missing[:0]
		done := 0
		for _, h := range all {
			if slices.Contains(h.Seeding, a.InfoHash) {
				done++
			} else {
				missing = append(missing, h.Node)
			}
		}
		if tell != nil && len(all) > 0 {
			tell(int64(done), int64(len(all)))
		}
		if len(all) > 0 && len(missing) == 0 {
			return nil, nil
		}
		if done > most {
			most, since = done, time.Now()
		}
		if time.Since(since) > seedPatience {
			return missing, nil
		}
		select {
		case <-ctx.Done():
			return missing, ctx.Err()
		case <-time.After(250 * time.Millisecond):
		}
	}
}
