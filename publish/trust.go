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
	if role, file, ok := publication(s); ok {
		added, err := newTargets(ctx, client, repo, role, file)
		if err != nil {
			return err
		}
		for _, t := range added {
			req := publishRequest(role, t, file)
			if err := client.Do(ctx, http.MethodPost, "/v1/artifacts", req, nil); err != nil {
				return err
			}
		}
		if len(added) > 0 {
			return repo.CommitRole(role, file)
		}
	}
	if err := client.Do(ctx, http.MethodPut, "/v1/trust", api.TrustUpdate{Root: s.Root, Targets: s.Targets, Roles: s.Roles}, nil); err != nil {
		return err
	}
	if s.Root != nil {
		if err := repo.CommitRoot(s.Root); err != nil {
			return err
		}
	}
	if s.Targets != nil {
		if err := repo.Commit(s.Targets); err != nil {
			return err
		}
	}
	for role, file := range s.Roles {
		if err := repo.CommitRole(role, file); err != nil {
			return err
		}
	}
	return nil
}

// publication returns the file of s where it is but one, which may name payloads
// that were uploaded for it. A change of keys names no new ones.
func publication(s signing.Staged) (role string, file []byte, ok bool) {
	switch {
	case s.Root != nil:
		return "", nil, false
	case s.Targets != nil && len(s.Roles) == 0:
		return trust.RoleTargets, s.Targets, true
	case s.Targets == nil && len(s.Roles) == 1:
		for role, file := range s.Roles {
			return role, file, true
		}
	}
	return "", nil, false
}

// publishRequest is how file, signed by role, makes t an artifact.
func publishRequest(role string, t trust.Target, file []byte) api.PublishRequest {
	req := api.PublishRequest{Name: t.Custom.Name, Version: t.Custom.Version, Targets: file}
	if role != trust.RoleTargets {
		req.Role = role
	}
	return req
}

// newTargets returns what the next file of a role names and the present does not.
func newTargets(ctx context.Context, client *api.Client, repo *signing.Repository, role string, next []byte) ([]trust.Target, error) {
	now, err := repo.Check(role, next, time.Now())
	if err != nil {
		return nil, fmt.Errorf("staged %w", err)
	}
	current, err := currentFile(ctx, client, role)
	if err != nil {
		return nil, err
	}
	var was trust.TargetsSummary // nothing, where its keys were taken away
	if current != nil {
		if was, err = repo.Check(role, current, time.Time{}); err != nil && role == trust.RoleTargets {
			return nil, fmt.Errorf("the cluster's %w", err)
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

// currentFile returns the metadata of a role that the cluster has, or nil.
func currentFile(ctx context.Context, client *api.Client, role string) ([]byte, error) {
	var status api.TrustStatus
	if err := client.Do(ctx, http.MethodGet, "/v1/trust", nil, &status); err != nil {
		return nil, err
	}
	v, ok := status.Versions[role]
	if !ok {
		return nil, nil
	}
	return client.Raw(ctx, "/v1/tuf/"+strconv.FormatInt(v, 10)+"."+role+".json", maxMetadata)
}

// Delegated returns the cluster's files of the roles that repo's targets delegate
// to; one that has signed nothing yet is absent. Nothing is verified.
func Delegated(ctx context.Context, client *api.Client, repo *signing.Repository) (map[string][]byte, error) {
	delegated, err := trust.Delegations(repo.Targets())
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for _, d := range delegated {
		file, err := currentFile(ctx, client, d.Role)
		if err != nil {
			return nil, err
		}
		if file != nil {
			files[d.Role] = file
		}
	}
	return files, nil
}

// SyncTargets takes over the cluster's targets where they are newer and rightly
// signed, so that what is signed next builds on them.
func SyncTargets(ctx context.Context, client *api.Client, repo *signing.Repository) error {
	current, err := currentFile(ctx, client, trust.RoleTargets)
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
