package publish

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"redflag/api"
	"redflag/payload/pack"
	"redflag/trust"
)

const (
	// worthPacking is what a file must have to be packed at all, in bytes, and
	// worthADelta the same for a delta to it.
	worthPacking = 16 << 10
	worthADelta  = 64 << 10
	// packedMost and deltaMost are what packing and a delta may leave of what
	// would be sent without, in percent: neither is free for the agents.
	packedMost = 95
	deltaMost  = 80
)

// part is a file to upload and the target that names it.
type part struct {
	path   string
	target trust.Target
}

func targetsOf(parts []part) []trust.Target {
	var ts []trust.Target
	for _, x := range parts {
		ts = append(ts, x.target)
	}
	return ts
}

// parts makes all that is published: the payload first, packed where that is
// shorter, then its deltas. work is a folder for them.
func (p *Publisher) parts(ctx context.Context, work, path, name, version string, how *api.Install) ([]part, error) {
	plain, err := p.describe(path, name, version)
	if err != nil {
		return nil, err
	}
	plain.Custom.Install, plain.Custom.For = how, p.For
	if plain.Custom.FileName = filepath.Base(path); !api.ValidID(plain.Custom.FileName) {
		plain.Custom.FileName = name
	}
	whole := part{path, plain}
	if p.Level > 0 && plain.Length >= worthPacking {
		if whole, err = p.packed(whole, filepath.Join(work, "packed")); err != nil {
			return nil, err
		}
	}
	deltas, err := p.deltas(ctx, work, path, plain, whole.target.Length)
	return append([]part{whole}, deltas...), err
}

// packed returns the part packed, or as it is where that is hardly longer.
func (p *Publisher) packed(plain part, to string) (part, error) {
	err := p.make(to, func(w io.Writer) error {
		f, length, err := open(plain.path)
		if err != nil {
			return err
		}
		defer f.Close()
		return pack.Pack(w, p.watch(StepPack, f, length), p.Level)
	})
	if err != nil {
		return part{}, err
	}
	return p.shorter(plain, to, plain.target.Length, packedMost, &api.Coding{
		Method: api.CodingZstd, Length: plain.target.Length, SHA256: plain.target.SHA256,
	})
}

// shorter describes what was made at path, and returns plain as it is unless
// that leaves most percent of length or less.
func (p *Publisher) shorter(plain part, path string, length, most int64, how *api.Coding) (part, error) {
	st, err := os.Stat(path)
	if err != nil {
		return part{}, err
	}
	if st.Size()*100 > length*most {
		return plain, os.Remove(path)
	}
	t, err := p.describe(path, plain.target.Custom.Name, plain.target.Custom.Version)
	if err != nil {
		return part{}, err
	}
	t.Custom.FileName, t.Custom.Install, t.Custom.For = plain.target.Custom.FileName, plain.target.Custom.Install, plain.target.Custom.For
	t.Custom.Coding = how
	if how.From != nil { // the version's own target says how it is installed
		t.Path, t.Custom.Install = api.DeltaPath(t.Custom.Name, t.Custom.Version, how.From.SHA256), nil
	}
	return part{path, t}, nil
}

// make writes a new file.
func (p *Publisher) make(path string, fill func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("make a file to publish: %w", err)
	}
	defer f.Close()
	if err := fill(f); err != nil {
		return err
	}
	return f.Close()
}
