package publish

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"redflag/api"
	"redflag/trust"
)

// StepPayload is Export's and Import's step, once for each payload.
const StepPayload Step = "payload"

// Export writes a bundle of a cluster's metadata and of the payloads of only,
// paths such as app/1.4.0; none means all. Each payload is checked on its way.
// root is the first root as the caller knows it, not as the cluster says it.
func Export(ctx context.Context, client *api.Client, w io.Writer, root []byte, only []string, progress func(what string, done, total int64)) ([]trust.Target, error) {
	out := tar.NewWriter(w)
	newest, err := exportRoots(ctx, client, out, root)
	if err != nil {
		return nil, err
	}
	targets, err := currentFile(ctx, client, trust.RoleTargets)
	if err != nil {
		return nil, err
	}
	summary, err := trust.CheckTargets(newest, targets, time.Now())
	if err != nil {
		return nil, fmt.Errorf("the cluster's %w", err)
	}
	if err := writeEntry(out, bundleTargets, targets); err != nil {
		return nil, err
	}
	if err := exportRoles(ctx, client, out, targets, summary.Targets); err != nil {
		return nil, err
	}
	if len(only) == 0 {
		// Deltas start from what the other cluster may not have.
		maps.DeleteFunc(summary.Targets, func(_ string, t trust.Target) bool { return t.Custom.Coding != nil && t.Custom.Coding.From != nil })
		only = slices.Sorted(maps.Keys(summary.Targets))
	}
	var carried []trust.Target
	for _, path := range only {
		t, ok := summary.Targets[path]
		if !ok {
			return nil, api.Errorf(api.CodeNotFound, "no target %s is signed", path).WithHint("redflag artifacts; write NAME/VERSION")
		}
		if err := exportPayload(ctx, client, out, t, progress); err != nil {
			return nil, err
		}
		carried = append(carried, t)
	}
	return carried, out.Close()
}

func writeEntry(out *tar.Writer, name string, data []byte) error {
	if err := out.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data)), Format: tar.FormatPAX}); err != nil {
		return err
	}
	_, err := out.Write(data)
	return err
}

// exportRoots writes every root and returns the newest.
func exportRoots(ctx context.Context, client *api.Client, out *tar.Writer, root []byte) ([]byte, error) {
	for version := 1; ; version++ {
		if version > 1 {
			next, err := client.Raw(ctx, fmt.Sprintf("/v1/tuf/%d.root.json", version), trust.MaxRootLength)
			if api.CodeOf(err) == api.CodeNotFound {
				return root, nil
			}
			if err != nil {
				return nil, err
			}
			if err := trust.CheckRootUpdate(root, next); err != nil {
				return nil, fmt.Errorf("the cluster's %w", err)
			}
			root = next
		}
		if err := writeEntry(out, fmt.Sprintf("%s%d.root.json", bundleRoots, version), root); err != nil {
			return nil, err
		}
	}
}

// exportRoles writes the file of each delegated role, and adds to named what it
// names. Roles whose file is not in force, because nobody has renewed it or its
// keys were taken away, stay behind with their payloads.
func exportRoles(ctx context.Context, client *api.Client, out *tar.Writer, targets []byte, named map[string]trust.Target) error {
	delegated, err := trust.Delegations(targets)
	if err != nil {
		return err
	}
	for _, d := range delegated {
		file, err := currentFile(ctx, client, d.Role)
		if err != nil {
			return err
		}
		if file == nil {
			continue
		}
		summary, err := trust.CheckDelegated(targets, d.Role, file, time.Now())
		if err != nil {
			continue
		}
		if err := writeEntry(out, bundleRoles+d.Role+".json", file); err != nil {
			return err
		}
		addTargets(named, summary.Targets)
	}
	return nil
}

// addTargets adds what a delegated role names, where targets itself does not.
func addTargets(named, more map[string]trust.Target) {
	for path, t := range more {
		if _, ok := named[path]; !ok {
			named[path] = t
		}
	}
}

func exportPayload(ctx context.Context, client *api.Client, out *tar.Writer, t trust.Target, progress func(string, int64, int64)) error {
	begun := false
	return client.Download(ctx, "/v1/payloads/"+t.SHA256, func(body io.Reader, _ int64) error {
		if begun { // another server may not go on where one broke off
			return errors.New("the payload broke off: export again")
		}
		begun = true
		if err := out.WriteHeader(&tar.Header{Name: bundlePayloads + t.Path, Mode: 0o644, Size: t.Length, Format: tar.FormatPAX}); err != nil {
			return err
		}
		return trust.CopyVerified(out, &watched{r: body, tell: func(done int64) { progress(t.Path, done, t.Length) }}, t.Length, t.SHA256)
	})
}

// Import publishes every payload of a bundle to the publisher's own cluster,
// signed with its own keys: the operator here vouches for what the operator
// there has signed, constraints and all. pin is the hash of the first root there.
// Nothing is signed before the payload's bytes have been checked. What was
// imported before is passed over, so that a broken import may be repeated.
func (p *Publisher) Import(ctx context.Context, r io.Reader, pin string) ([]api.Artifact, error) {
	if err := Sync(ctx, p.Client, p.Keys); err != nil {
		return nil, err
	}
	if err := p.syncRole(ctx); err != nil {
		return nil, err
	}
	b, err := openBundle(r, pin, time.Now())
	if err != nil {
		return nil, err
	}
	var imported []api.Artifact
	for {
		t, body, err := b.payload()
		if errors.Is(err, io.EOF) {
			return imported, nil
		}
		if err != nil {
			return imported, err
		}
		a, err := p.importOne(ctx, t, body)
		if err != nil {
			return imported, fmt.Errorf("import %s: %w", t.Path, err)
		}
		imported = append(imported, a)
	}
}

func (p *Publisher) importOne(ctx context.Context, t trust.Target, body io.Reader) (api.Artifact, error) {
	have, err := api.List[api.Artifact](ctx, p.Client, "/v1/artifacts", nil, 0)
	if err != nil {
		return api.Artifact{}, err
	}
	for _, a := range have {
		if a.Name == t.Custom.Name && a.Version == t.Custom.Version && a.SHA256 == t.SHA256 {
			return a, nil
		}
	}
	// The pipe ends with an error when the bytes are not what was signed, and the
	// upload with it; the node checks the hash once more.
	pr, pw := io.Pipe()
	go func() { pw.CloseWithError(trust.CopyVerified(pw, body, t.Length, t.SHA256)) }()
	defer pr.Close() //nolint:errcheck // it always returns nil
	if err := p.send(ctx, p.watch(StepPayload, pr, t.Length), t); err != nil {
		return api.Artifact{}, err
	}
	return p.sign(ctx, []trust.Target{t})
}
