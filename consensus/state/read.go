package state

import (
	"fmt"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"redflag/api"
)

// MaxPage bounds how many rows a listing returns at once.
const MaxPage = 1000

// page returns a limit that is 1 to MaxPage; anything else means MaxPage.
func page(limit int) int {
	if limit < 1 || limit > MaxPage {
		return MaxPage
	}
	return limit
}

// read decodes a row into v. A read that the disk refuses finds nothing and
// stops the machine, see Err.
func (m *Machine) read(key []byte, v any) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.readLocked(key, v)
}

func (m *Machine) readLocked(key []byte, v any) bool {
	if m.closed {
		return false
	}
	found, err := getRow(m.db, key, v)
	m.fail(err)
	return found && err == nil
}

// readAll returns all rows of a kind in order of their keys.
func readAll[T any](m *Machine, kind byte) []T {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return nil
	}
	var out []T
	from, to := kindSpan(kind)
	m.fail(scanRows(m.db, from, to, func(_, value []byte) (bool, error) {
		var v T
		err := unmarshal(value, &v)
		out = append(out, v)
		return true, err
	}))
	return out
}

// readAfter returns up to limit rows of a kind, those after a key.
func readAfter[T any](m *Machine, kind byte, after []byte, limit int) []T {
	limit = page(limit)
	_, to := kindSpan(kind)
	it, err := m.rows(append(slices.Clone(after), 0), to)
	if err != nil {
		return nil
	}
	var out []T
	for ok := it.First(); ok && len(out) < limit; ok = it.Next() {
		var v T
		if err := unmarshal(it.Value(), &v); err != nil {
			m.fail(err)
			break
		}
		out = append(out, v)
	}
	m.fail(it.Close())
	return out
}

// rows iterates over rows as they were at one moment, while entries are applied
// and even while the whole state is replaced. Machine.Close waits for its Close.
type rows struct {
	*pebble.Iterator
	readers *sync.WaitGroup
}

// Close ends the iteration.
func (r *rows) Close() error {
	defer r.readers.Done()
	return r.Iterator.Close()
}

// rowsLocked returns the rows of [from, to) as they are now.
func (m *Machine) rowsLocked(from, to []byte) (*rows, error) {
	if m.closed {
		return nil, ErrClosed
	}
	it, err := m.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		m.fail(err)
		return nil, fmt.Errorf("read rows: %w", err)
	}
	m.readers.Add(1)
	return &rows{Iterator: it, readers: &m.readers}, nil
}

func (m *Machine) rows(from, to []byte) (*rows, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.rowsLocked(from, to)
}

// Cluster returns what the cluster is founded on, if it is. Its slices are not
// to be written to.
func (m *Machine) Cluster() (Cluster, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed || m.index.founded == nil {
		return Cluster{}, false
	}
	return *m.index.founded, true
}

// Nodes returns the enrolled nodes in order of their ids.
func (m *Machine) Nodes() []api.Node { return readAll[api.Node](m, keyNode) }

// Node returns an enrolled node.
func (m *Machine) Node(id string) (api.Node, bool) {
	var n api.Node
	ok := m.read(idKey(keyNode, id), &n)
	return n, ok
}

// Tokens returns the registration tokens in order of their ids.
func (m *Machine) Tokens() []api.Token {
	rows := readAll[tokenRow](m, keyToken)
	out := make([]api.Token, len(rows))
	for i, r := range rows {
		out[i] = r.Token
	}
	return out
}

// TokensAfter returns up to limit of them, those after an id.
func (m *Machine) TokensAfter(id string, limit int) []api.Token {
	rows := readAfter[tokenRow](m, keyToken, idKey(keyToken, id), limit)
	out := make([]api.Token, len(rows))
	for i, r := range rows {
		out[i] = r.Token
	}
	return out
}

// Token returns a registration token.
func (m *Machine) Token(id string) (api.Token, bool) {
	var row tokenRow
	ok := m.read(idKey(keyToken, id), &row)
	return row.Token, ok
}

// Agent returns an enrolled agent.
func (m *Machine) Agent(id string) (api.Agent, bool) {
	a, _, ok := m.Member(id)
	return a, ok
}

// Member returns an enrolled agent, whose labels are not to be written to, and
// what it has confirmed of the CA bundle. It reads no store.
func (m *Machine) Member(agentID string) (api.Agent, Confirmation, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	ordinal, ok := m.index.ordinals[agentID]
	if !ok || m.closed {
		return api.Agent{}, Confirmation{}, false
	}
	row := m.index.rows[ordinal]
	return row.Agent, Confirmation{ID: agentID, Version: row.Confirmed, Issuer: row.Issuer}, true
}

// Inventory returns what the last scan of an agent's machine found.
func (m *Machine) Inventory(agentID string) (*api.Inventory, bool) {
	var inv api.Inventory
	ok := m.read(idKey(keyInventory, agentID), &inv)
	return &inv, ok
}

// EachInventory calls f with every agent's inventory, in order of their ids.
func (m *Machine) EachInventory(f func(agentID string, inv *api.Inventory)) {
	it, err := m.rows(kindSpan(keyInventory))
	if err != nil {
		return
	}
	for ok := it.First(); ok; ok = it.Next() {
		var inv api.Inventory
		if err := unmarshal(it.Value(), &inv); err != nil {
			m.fail(err)
			break
		}
		f(string(it.Key()[1:]), &inv)
	}
	m.fail(it.Close())
}

// Agents returns up to limit agents whose ids come after a given one, in order
// of their ids, and for which match holds; nil matches all.
func (m *Machine) Agents(after string, limit int, match func(*api.Agent) bool) []api.Agent {
	limit = page(limit)
	_, to := kindSpan(keyAgent)
	it, err := m.rows(append(idKey(keyAgent, after), 0), to)
	if err != nil {
		return nil
	}
	var out []api.Agent
	for ok := it.First(); ok && len(out) < limit; ok = it.Next() {
		var row agentRow
		if err := unmarshal(it.Value(), &row); err != nil {
			m.fail(err)
			break
		}
		if match == nil || match(&row.Agent) {
			out = append(out, row.Agent)
		}
	}
	m.fail(it.Close())
	return out
}

// EachAgent calls f with every agent, in order of their ids. The agent is f's
// only until it returns.
func (m *Machine) EachAgent(f func(*api.Agent)) {
	from, to := kindSpan(keyAgent)
	it, err := m.rows(from, to)
	if err != nil {
		return
	}
	for ok := it.First(); ok; ok = it.Next() {
		var row agentRow
		if err := unmarshal(it.Value(), &row); err != nil {
			m.fail(err)
			break
		}
		f(&row.Agent)
	}
	m.fail(it.Close())
}

// Artifact returns a published version.
func (m *Machine) Artifact(name, version string) (api.Artifact, bool) {
	var a api.Artifact
	ok := m.read(artifactKey(name, version), &a)
	return a, ok
}

// Artifacts returns the published versions in order of name and version.
func (m *Machine) Artifacts() []api.Artifact { return readAll[api.Artifact](m, keyArtifact) }

// ArtifactsAfter returns up to limit of them, those after a name and version;
// both empty for the first.
func (m *Machine) ArtifactsAfter(name, version string, limit int) []api.Artifact {
	after := []byte{keyArtifact}
	if name != "" {
		after = artifactKey(name, version)
	}
	return readAfter[api.Artifact](m, keyArtifact, after, limit)
}

// TrustFile returns a file of the TUF repository by its name, such as
// "3.root.json" or "timestamp.json".
func (m *Machine) TrustFile(name string) ([]byte, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return nil, false
	}
	var out []byte
	err := viewRow(m.db, idKey(keyTrustFile, name), func(b []byte) error {
		out = slices.Clone(b)
		return nil
	})
	m.fail(err)
	return out, out != nil
}

// TrustVersions returns the current version of each role that has one.
func (m *Machine) TrustVersions() map[string]int64 {
	out := map[string]int64{}
	m.read(keyTrust, &out)
	return out
}
