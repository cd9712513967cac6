package publish

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"

	"redflag/api"
	"redflag/payload/delta"
	"redflag/payload/pack"
	"redflag/trust"
)

// deltas makes the deltas to the file at path that are worth it beside a
// payload of length bytes.
func (p *Publisher) deltas(ctx context.Context, work, path string, to trust.Target, length int64) ([]part, error) {
	from, err := p.origins(ctx, to)
	if err != nil {
		return nil, err
	}
	var made []part
	for i, old := range from {
		if length < worthADelta || len(made) == api.MaxDeltas {
			break
		}
		d, err := p.delta(ctx, filepath.Join(work, fmt.Sprint(i)), path, old, to, length)
		if err != nil {
			return nil, fmt.Errorf("delta from %s: %w", old.Custom.Version, err)
		}
		if d.path != "" {
			made = append(made, d)
		}
	}
	return made, nil
}

// origins are the published versions to make deltas from: those that were asked
// for, and the newest earlier ones.
func (p *Publisher) origins(ctx context.Context, to trust.Target) ([]trust.Target, error) {
	if p.Deltas == 0 && len(p.DeltaFrom) == 0 {
		return nil, nil
	}
	earlier, err := p.earlier(ctx, to)
	if err != nil {
		return nil, err
	}
	var from []trust.Target
	for _, version := range p.DeltaFrom {
		i := slices.IndexFunc(earlier, func(t trust.Target) bool { return t.Custom.Version == version })
		if i < 0 {
			return nil, api.Errorf(api.CodeNotFound, "there is no earlier version %s of %s to make a delta from", version, to.Custom.Name).
				WithHint("redflag artifacts lists what is published")
		}
		from = append(from, earlier[i])
	}
	for _, t := range earlier[:min(p.Deltas, len(earlier))] {
		if !slices.ContainsFunc(from, func(o trust.Target) bool { return o.Path == t.Path }) {
			from = append(from, t)
		}
	}
	return from, nil
}

// earlier are the signed versions before this one, the newest first.
func (p *Publisher) earlier(ctx context.Context, to trust.Target) ([]trust.Target, error) {
	current, err := currentFile(ctx, p.Client, p.role())
	if err != nil || current == nil {
		return nil, err
	}
	signed, err := p.Keys.Check(p.role(), current, time.Now())
	if err != nil && p.Role != "" {
		return nil, nil // its keys were taken away: there is no earlier version to trust
	}
	if err != nil {
		return nil, err
	}
	var out []trust.Target
	_, sum := to.Content()
	for _, t := range signed.Targets {
		order, err := trust.CompareVersions(t.Custom.Version, to.Custom.Version)
		_, its := t.Content()
		if err == nil && order < 0 && t.Custom.Name == to.Custom.Name && t.Path == api.TargetPath(t.Custom.Name, t.Custom.Version) && its != sum {
			out = append(out, t)
		}
	}
	slices.SortFunc(out, func(a, b trust.Target) int {
		order, _ := trust.CompareVersions(b.Custom.Version, a.Custom.Version)
		return order
	})
	return out, nil
}

// delta makes one; its path is empty if it is not worth it.
func (p *Publisher) delta(ctx context.Context, work, path string, old, to trust.Target, length int64) (part, error) {
	before := work + ".old"
	if err := p.fetch(ctx, old, before); err != nil {
		return part{}, err
	}
	p.progress(StepDelta, 0, 1)
	made := work + ".delta"
	err := p.make(made, func(w io.Writer) error { return delta.MakeFiles(w, before, path, max(p.Level, 1)) })
	if err != nil {
		return part{}, err
	}
	p.progress(StepDelta, 1, 1)
	fromLength, fromSum := old.Content()
	toLength, toSum := to.Content()
	return p.shorter(part{target: to}, made, length, deltaMost, &api.Coding{
		Method: api.CodingDelta, Length: toLength, SHA256: toSum,
		From: &api.CodingFrom{Version: old.Custom.Version, Length: fromLength, SHA256: fromSum},
	})
}

// fetch brings a published payload back, as it was before it was packed. What
// arrives is what was signed, whoever served it.
func (p *Publisher) fetch(ctx context.Context, t trust.Target, to string) error {
	return p.make(to, func(w io.Writer) error {
		return p.Client.Download(ctx, "/v1/swarm/"+t.Custom.InfoHash+"/data", func(body io.Reader, _ int64) error {
			body = p.watch(StepFetch, body, t.Length)
			length, sum := t.Content()
			if t.Custom.Coding == nil {
				return trust.CopyVerified(w, body, length, sum)
			}
			z, err := pack.NewReader(body, length)
			if err != nil {
				return err
			}
			return errors.Join(trust.CopyVerified(w, z, length, sum), z.Close())
		})
	})
}
