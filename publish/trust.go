package publish

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"redflag/api"
	"redflag/trust"
	"redflag/trust/signing"
)

// Sync brings the local metadata up to what the cluster has: other operators
// may have signed a new root or new targets. Each step is verified, and a
// cluster whose first root is not the local one is refused.
func Sync(ctx context.Context, client *api.Client, repo *signing.Repository) error {
	first, err := client.Raw(ctx, "/v1/tuf/1.root.json", maxMetadata)
	if err != nil {
		return err
	}
	if trust.RootHash(first) != trust.RootHash(repo.First()) {
		return api.Errorf(api.CodeConflict, "the cluster's TUF root is not the one of these keys").
			WithHint("name the folder of this cluster's keys with --keys")
	}
	for {
		version, err := trust.RootVersion(repo.Root())
		if err != nil {
			return err
		}
		next, err := client.Raw(ctx, fmt.Sprintf("/v1/tuf/%d.root.json", version+1), maxMetadata)
		if api.CodeOf(err) == api.CodeNotFound {
			return nil
		}
		if err != nil {
			return err
		}
		if err := repo.CommitRoot(next); err != nil {
			return err
		}
	}
}

// Push gives the cluster what is staged, once enough have signed it, and makes
// artifacts of the payloads that new targets name. It may be repeated.
func Push(ctx context.Context, client *api.Client, repo *signing.Repository, s signing.Staged) error {
	current, err := currentTargets(ctx, client)
	if err != nil {
		return err
	}
	if s.Root != nil {
		if err := client.Do(ctx, http.MethodPut, "/v1/trust", api.TrustUpdate{Root: s.Root, Targets: s.Targets}, nil); err != nil {
			return err
		}
		if err := repo.CommitRoot(s.Root); err != nil {
			return err
		}
	}
	if s.Targets == nil {
		return nil
	}
	added, err := newTargets(repo, current, s.Targets)
	if err != nil {
		return err
	}
	for _, t := range added {
		req := api.PublishRequest{Name: t.Custom.Name, Version: t.Custom.Version, Targets: s.Targets}
		if err := client.Do(ctx, http.MethodPost, "/v1/artifacts", req, nil); err != nil {
			return err
		}
	}
	if len(added) == 0 && s.Root == nil {
		if err := client.Do(ctx, http.MethodPut, "/v1/trust", api.TrustUpdate{Targets: s.Targets}, nil); err != nil {
			return err
		}
	}
	return repo.Commit(s.Targets)
}

// newTargets returns what next names and current does not.
func newTargets(repo *signing.Repository, current, next []byte) ([]trust.Target, error) {
	now, err := trust.CheckTargets(repo.Root(), next, time.Now())
	if err != nil {
		return nil, fmt.Errorf("staged %w", err)
	}
	was, err := trust.CheckTargets(repo.Root(), current, time.Time{})
	if err != nil {
		// A new root may have taken away the keys that signed them.
		if was, err = trust.CheckTargets(repo.Root(), repo.Targets(), time.Time{}); err != nil {
			return nil, nil //nolint:nilerr // with the keys gone, nothing can be said to be new
		}
	}
	var added []trust.Target
	for path, t := range now.Targets {
		if _, ok := was.Targets[path]; !ok {
			added = append(added, t)
		}
	}
	return added, nil
}

// currentTargets returns the targets metadata that the cluster has, or nil.
func currentTargets(ctx context.Context, client *api.Client) ([]byte, error) {
	var status api.TrustStatus
	if err := client.Do(ctx, http.MethodGet, "/v1/trust", nil, &status); err != nil {
		return nil, err
	}
	v, ok := status.Versions["targets"]
	if !ok {
		return nil, nil
	}
	return client.Raw(ctx, "/v1/tuf/"+strconv.FormatInt(v, 10)+".targets.json", maxMetadata)
}

// SyncTargets takes over the cluster's targets where they are newer and rightly
// signed, so that what is signed next builds on them.
func SyncTargets(ctx context.Context, client *api.Client, repo *signing.Repository) error {
	current, err := currentTargets(ctx, client)
	if err != nil || current == nil {
		return err
	}
	theirs, err := trust.CheckTargets(repo.Root(), current, time.Time{})
	if err != nil {
		return fmt.Errorf("the cluster's %w", err)
	}
	mine, err := trust.CheckTargets(repo.Root(), repo.Targets(), time.Time{})
	if err == nil && mine.Version >= theirs.Version {
		return nil
	}
	return repo.Commit(current)
}
