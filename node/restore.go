package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"redflag/api"
	"redflag/consensus"
	"redflag/consensus/state"
	"redflag/durable"
	"redflag/trust/pki"
)

// probePatience is how long a node may take to show that it still runs.
const probePatience = 2 * time.Second

// Restoring is a snapshot that is about to become the state of a stopped node.
// Until Do nothing is changed. Close it.
type Restoring struct {
	Snapshot *consensus.SnapshotFile
	Node     api.Node   // as it will stand in the restored state
	Others   []api.Node // of the snapshot: they are removed
	Running  []string   // addresses of other nodes that still answer
	Kept     string     // where the present state is moved to, "" if there is none

	dataDir string
	file    *os.File
	lock    *flock.Flock
}

// PrepareRestore checks a snapshot file against the data directory of a node
// that does not run: it must be whole, of the node's own cluster, and sealed
// with a key that the node has. addr is where the other nodes will reach this
// one, "" for where they did.
func PrepareRestore(ctx context.Context, dataDir, file, addr string, progress func(done, total int64)) (r *Restoring, err error) {
	r = &Restoring{dataDir: dataDir}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	creds, err := pki.LoadCredentials(r.path("identity"))
	if errors.Is(err, pki.ErrNotEnrolled) {
		return r, api.Errorf(api.CodeInvalid, "%s holds no identity of a node", dataDir).
			WithHint("restore on a node of this cluster, or copy the folder identity of one there from a backup")
	}
	if err != nil {
		return r, err
	}
	if r.lock, err = lockStopped(dataDir); err != nil {
		return r, err
	}
	if r.file, r.Snapshot, err = OpenSnapshot(file, progress); err != nil {
		return r, err
	}
	if want := creds.Identity().ClusterID; r.Snapshot.Info.ClusterID != want {
		return r, api.Errorf(api.CodeInvalid, "%s is of cluster %s, and this node belongs to %s", file, r.Snapshot.Info.ClusterID, want).
			WithHint("nothing was changed; is it the right file?")
	}
	return r, r.look(ctx, creds, addr)
}

// OpenSnapshot opens a snapshot file and checks all of it.
func OpenSnapshot(path string, progress func(done, total int64)) (*os.File, *consensus.SnapshotFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("open snapshot: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	s, err := consensus.OpenSnapshot(f, info.Size(), progress)
	if err != nil {
		_ = f.Close() // the first error says more
		return nil, nil, api.Errorf(api.CodeInvalid, "%s: %v", path, err).
			WithHint("nothing was changed; use another file")
	}
	return f, s, nil
}

// lockStopped holds a data directory whose node does not run.
func lockStopped(dataDir string) (*flock.Flock, error) {
	lock := flock.New(filepath.Join(dataDir, "lock"))
	if ok, err := lock.TryLock(); err != nil || !ok {
		return nil, errors.Join(api.Errorf(api.CodeConflict, "a node runs on %s", dataDir).WithHint("stop it first"), err)
	}
	return lock, nil
}

func (r *Restoring) path(elem ...string) string {
	return filepath.Join(append([]string{r.dataDir}, elem...)...)
}

// look restores the snapshot beside the present state, which shows that it can
// be, and reads there what the operator has to know.
func (r *Restoring) look(ctx context.Context, creds *pki.Credentials, addr string) error {
	trial := r.path("cluster.trial")
	if err := os.RemoveAll(trial); err != nil {
		return err
	}
	m, err := state.Open(trial)
	if err != nil {
		return err
	}
	defer func() { _ = m.Close(); _ = os.RemoveAll(trial) }()
	if err := m.Restore(r.Snapshot.State()); err != nil { //nolint:contextcheck // a swap of files is not given up half-way
		return err
	}
	if err := r.unseals(m); err != nil {
		return err
	}
	id := creds.Identity()
	have, known := m.Node(id.ID)
	r.Node = api.Node{ID: id.ID, Region: id.Region, KeyID: creds.KeyID(), MeshAddr: r.lastAddr(have.MeshAddr, addr), NonVoter: false}
	if r.Node.MeshAddr == "" {
		return api.Errorf(api.CodeInvalid, "the snapshot does not know where node %s is", id.ID).WithHint("say so with --mesh-advertise HOST:PORT")
	}
	for _, n := range m.Nodes() {
		if n.ID != id.ID || !known || n.KeyID != r.Node.KeyID {
			r.Others = append(r.Others, n)
		}
	}
	r.Running = r.answering(ctx)
	if _, err := os.Stat(r.path("cluster")); err == nil {
		r.Kept = r.path("cluster.before-" + time.Now().UTC().Format("20060102T150405"))
	}
	return nil
}

// unseals refuses a state whose keys this node could not use.
func (r *Restoring) unseals(m *state.Machine) error {
	key, err := os.ReadFile(r.path("identity", "sealing.key"))
	if err != nil {
		return fmt.Errorf("read sealing key: %w", err)
	}
	sealer, err := pki.NewSealer(key)
	if err != nil {
		return fmt.Errorf("load sealing key: %w", err)
	}
	cluster, _ := m.Cluster()
	if _, err := sealer.Open(cluster.SealedCAKey, sealCA); err != nil {
		return api.Errorf(api.CodeInvalid, "this node's sealing key does not open the cluster's keys in the snapshot").
			WithHint("nothing was changed; restore on a node that the snapshot knows")
	}
	return nil
}

// lastAddr returns where this node is: as the operator says, as it last ran, or
// as the snapshot has it.
func (r *Restoring) lastAddr(inSnapshot, said string) string {
	if said != "" {
		return said
	}
	if here, err := readRuntime(r.dataDir); err == nil && here.Mesh != "" {
		return here.Mesh
	}
	return inSnapshot
}

// answering returns the addresses of other nodes where something listens.
func (r *Restoring) answering(ctx context.Context) []string {
	ctx, cancel := context.WithTimeout(ctx, probePatience)
	defer cancel()
	var mu sync.Mutex
	var wg sync.WaitGroup
	var out []string
	for _, addr := range r.addresses() {
		wg.Go(func() {
			var d net.Dialer
			conn, err := d.DialContext(ctx, "tcp", addr)
			if err != nil {
				return
			}
			_ = conn.Close()
			mu.Lock()
			defer mu.Unlock()
			out = append(out, addr)
		})
	}
	wg.Wait()
	slices.Sort(out)
	return out
}

// addresses returns where other nodes may be: those of the snapshot, and those
// that this node knows today, which may have joined later.
func (r *Restoring) addresses() []string {
	nodes := slices.Clone(r.Others)
	if dir := r.path("cluster", "state"); exists(dir) {
		if m, err := state.Open(dir); err == nil { // it may be what has to be replaced
			nodes = append(nodes, m.Nodes()...)
			_ = m.Close()
		}
	}
	var out []string
	for _, n := range nodes {
		if n.ID != r.Node.ID && n.MeshAddr != r.Node.MeshAddr && !slices.Contains(out, n.MeshAddr) {
			out = append(out, n.MeshAddr)
		}
	}
	return out
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// Do makes the snapshot the state of the node: built beside the present one,
// which is then moved away, so that it can be put back. A crash before the
// last step leaves what was; in the middle of it, the command is to be repeated.
func (r *Restoring) Do() error {
	fresh := r.path("cluster.restored")
	if err := os.RemoveAll(fresh); err != nil {
		return err
	}
	err := consensus.Restore(
		consensus.Config{NodeID: r.Node.ID, Addr: r.Node.MeshAddr, Dir: fresh}, r.Snapshot.State(), r.changes()...,
	)
	if err != nil {
		return errors.Join(err, os.RemoveAll(fresh))
	}
	if r.Kept != "" {
		if err := durable.Rename(r.path("cluster"), r.Kept); err != nil {
			return err
		}
	}
	return durable.Rename(fresh, r.path("cluster"))
}

// changes make the restored state one that this node alone belongs to. The keys
// of all others are revoked with it, so that a node which comes back with its
// old data is refused at the handshake and cannot disturb the new cluster.
func (r *Restoring) changes() []consensus.Change {
	var out []consensus.Change
	for _, n := range r.Others {
		out = append(out, consensus.Change{Type: state.TypeRemoveNode, Body: state.RemoveNode{ID: n.ID}})
	}
	h := r.Snapshot.Header
	return append(out,
		consensus.Change{Type: state.TypePutNode, Body: state.PutNode{Node: r.Node}},
		consensus.Change{Type: state.TypeAudit, Body: state.Audit{Records: []api.AuditRecord{{
			Who: "local root", Action: "snapshot restored", Target: r.Node.ID, Node: r.Node.ID,
			Detail: fmt.Sprintf("index %d, written by %s at %s, nodes removed: %d", h.Index, h.NodeID, h.WrittenAt.Format(time.RFC3339), len(r.Others)),
		}}}},
	)
}

// Close releases the file and the data directory.
func (r *Restoring) Close() error {
	var errs []error
	if r.file != nil {
		errs = append(errs, r.file.Close())
	}
	if r.lock != nil {
		errs = append(errs, r.lock.Unlock())
	}
	return errors.Join(errs...)
}
