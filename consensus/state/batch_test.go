package state

import (
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/stretchr/testify/require"

	"redflag/api"
)

func batchOf(bodies ...body) Batch {
	var b Batch
	for _, value := range bodies {
		r, err := EncodeRecord(value.entryType(), value)
		if err != nil {
			panic(err)
		}
		b.Records = append(b.Records, r)
	}
	return b
}

// A batch gives every record the result that it would have had alone, and
// leaves the state that the records would have left one by one.
func TestBatchIsItsRecordsInOrder(t *testing.T) {
	records := []body{
		lease("a1", "r1:a1", "r9:a1"),
		report("a1", says("p1", "r1:a1", api.StateRunning)),
		report("a2", says("p2", "r1:a1", api.StateFailed)), // another agent's
		report("a1", says("p3", "r1:a1", api.StateSucceeded), says("p4", "r1:a1", api.StateFailed)),
		lease("a1", "r1:a1"),
	}
	together, alone := fleet(t), fleet(t)
	result := together.apply(batchOf(records...))
	parts := result.Split()
	require.Len(t, parts, len(records))
	for i, b := range records {
		alone.now = epoch // entries of one batch have one time
		alone.now = together.now.Add(-1e9)
		one := alone.apply(b)
		require.Equal(t, one.Errors, parts[i].Errors, "record %d", i)
		require.Equal(t, result.Index, parts[i].Index)
	}
	// The rows differ in one thing, the log index of an end.
	require.Equal(t, alone.Commands(CommandFilter{}, "", 0), together.Commands(CommandFilter{}, "", 0))
	require.Equal(t, alone.Rollouts(), together.Rollouts())
	require.Equal(t, len(alone.rows()), len(together.rows()))
	require.Equal(t, api.CodeDenied, api.CodeOf(parts[2].Err()))
	require.Nil(t, parts[3].Errors[0])
	require.Equal(t, api.CodeConflict, api.CodeOf(parts[3].Errors[1]))
}

func TestBatchRefusesWhatDoesNotBelong(t *testing.T) {
	_, err := EncodeRecord(TypeTick, Tick{})
	require.Error(t, err)
	_, err = EncodeRecord(TypeLease, Tick{})
	require.Error(t, err)
	_, err = EncodeRecord(TypeLease, lease("a1", string(make([]byte, MaxBatchBytes))))
	require.Equal(t, api.CodeTooLarge, api.CodeOf(err))

	good := batchOf(lease("a1", "r1:a1")).Records[0]
	for name, b := range map[string]Batch{
		"nothing":       {},
		"a batch":       {Records: []Record{{Type: TypeBatch, Body: good.Body}}},
		"no such type":  {Records: []Record{{Type: 99, Body: good.Body}}},
		"not batchable": {Records: []Record{good, {Type: TypeTick, Body: []byte{0xA0}}}},
		"no body":       {Records: []Record{{Type: TypeLease, Body: []byte{0x01}}}},
		"too many":      {Records: make([]Record, MaxBatchRecords+1)},
	} {
		for i := range b.Records {
			if b.Records[i].Body == nil {
				b.Records[i] = good
			}
		}
		entry, err := EncodeEntry(TypeBatch, epoch, b)
		require.NoError(t, err, name)
		_, err = DecodeBatch(entry)
		require.ErrorIs(t, err, ErrCorrupt, name)
		require.ErrorIs(t, CheckEntry(entry), ErrCorrupt, name)
	}
}

// The level of a cluster is the lowest that any node knows, and never falls.
func TestLevels(t *testing.T) {
	r := newRig(t)
	put := func(id string) PutNode {
		return PutNode{
			Node:    api.Node{ID: id, Region: "eu", MeshAddr: id + ":7420", KeyID: hexDigest(id)},
			TokenID: "t1", TokenSecretHash: digest("t1"),
		}
	}
	r.must(token("t1", api.TokenNode, 9, nil), put("n1"), put("n2"))
	require.Equal(t, 1, r.Level())
	r.must(Announce{"n1", 2})
	require.Equal(t, 1, r.Level(), "n2 has said nothing")
	r.must(Announce{"n2", 1})
	require.Equal(t, 1, r.Level())
	r.must(Announce{"n2", 2})
	require.Equal(t, 2, r.Level())
	r.refuses(api.CodeConflict, Announce{"n2", 1})
	r.must(put("n3"))
	require.Equal(t, 2, r.Level(), "it never falls")
	require.Equal(t, 0, r.LevelOfNode("n3"))
	r.refuses(api.CodeConflict, Announce{"n3", 1})

	// A version that knows less than the cluster uses stops where it rises, and
	// does not open a state in which it has.
	r.must(Announce{"n1", Level + 1}, Announce{"n2", Level + 1})
	r.index++
	entry, err := EncodeEntry(TypeAnnounce, r.now, Announce{"n3", Level + 1})
	require.NoError(t, err)
	_, err = r.Apply(Entry{r.index, entry})
	require.ErrorIs(t, err, ErrCorrupt)
	newer := newRig(t)
	b, err := marshal(levelsRow{Level: Level + 1})
	require.NoError(t, err)
	require.NoError(t, newer.db.Set(keyLevels, b, pebble.NoSync))
	require.ErrorContains(t, newer.load(), "run the version that the other nodes run")

	// A node that lags behind holds the others back only until it is removed.
	r = newRig(t)
	r.must(token("t1", api.TokenNode, 9, nil), put("n1"), put("n2"), Announce{"n1", 2}, Announce{"n2", 1})
	require.Equal(t, 1, r.Level())
	r.must(RemoveNode{"n2"})
	require.Equal(t, 2, r.Level())
}
