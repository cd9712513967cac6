package agent

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"redflag/api"
)

func testJournal(t *testing.T, path string) *journal {
	t.Helper()
	j, err := openJournal(path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = j.close() })
	return j
}

func command(n int) api.Command {
	return api.Command{
		ID: fmt.Sprintf("r%d:a1", n), AgentID: "a1", Kind: api.KindInstall,
		Artifact: "app", Version: fmt.Sprintf("%d.0", n), CorrelationID: api.NewCorrelationID(),
	}
}

func accept(t *testing.T, j *journal, cmds ...api.Command) (fresh, repeats int) {
	t.Helper()
	took, err := j.accept(cmds)
	require.NoError(t, err)
	return took.fresh, took.repeats
}

func next(t *testing.T, j *journal) *entry {
	t.Helper()
	e, err := j.next()
	require.NoError(t, err)
	return e
}

func outbox(t *testing.T, j *journal) []api.Report {
	t.Helper()
	r, err := j.outbox(api.MaxReports)
	require.NoError(t, err)
	return r
}

func TestJournalKeepsCommandsInOrderAcrossRestarts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j := testJournal(t, path)
	fresh, _ := accept(t, j, command(2), command(1))
	require.Equal(t, 2, fresh)
	fresh, repeats := accept(t, j, command(2))
	require.Equal(t, []int{0, 0}, []int{fresh, repeats}, "a held command is not taken in twice")
	require.NoError(t, j.start(next(t, j)))
	require.NoError(t, j.close())

	j = testJournal(t, path)
	held, err := j.held()
	require.NoError(t, err)
	require.Equal(t, []string{"r2:a1", "r1:a1"}, held)
	e := next(t, j)
	require.Equal(t, api.StateRunning, e.State)
	require.NoError(t, j.start(e))
	require.Len(t, outbox(t, j), 1, "running is reported once")
}

func TestJournalAnswersARepeatWithTheFinalReport(t *testing.T) {
	j := testJournal(t, filepath.Join(t.TempDir(), "journal.db"))
	accept(t, j, command(1))
	e := next(t, j)
	require.NoError(t, j.start(e))
	e.Transfer = api.Transfer{FromPeers: 7}
	require.NoError(t, j.end(e, api.StateFailed, &api.Failure{Class: api.ErrorDisk, Message: "full"}))
	require.Nil(t, next(t, j))

	reports := outbox(t, j)
	require.Len(t, reports, 2)
	require.Equal(t, api.StateRunning, reports[0].State)
	require.Equal(t, api.StateFailed, reports[1].State)
	require.Equal(t, int64(7), reports[1].Transfer.FromPeers)

	accept(t, j, command(1))
	require.Len(t, outbox(t, j), 2, "it still waits")
	require.NoError(t, j.settle([]string{reports[0].ID, reports[1].ID, "unknown"}))
	require.Empty(t, outbox(t, j))

	took, err := j.accept([]api.Command{command(1)})
	require.NoError(t, err)
	require.Equal(t, taken{repeats: 1, replayed: []string{command(1).ID}}, took)
	require.Nil(t, next(t, j), "an ended command never runs again")
	require.Equal(t, reports[1], outbox(t, j)[0], "the same report, under the same id")
}

func TestJournalForgetsTheOldestEndedCommands(t *testing.T) {
	j := testJournal(t, filepath.Join(t.TempDir(), "journal.db"))
	const total = keptEnded + 5
	var cmds []api.Command
	for n := range total {
		cmds = append(cmds, command(n))
	}
	accept(t, j, cmds...)
	j.db.NoSync = true // a thousand commits
	for e := next(t, j); e != nil; e = next(t, j) {
		require.NoError(t, j.end(e, api.StateSucceeded, nil))
	}
	require.NoError(t, j.db.View(func(tx *bolt.Tx) error {
		require.Equal(t, keptEnded, tx.Bucket(bucketCommands).Stats().KeyN)
		require.Equal(t, total, tx.Bucket(bucketOutbox).Stats().KeyN, "no report is lost")
		return nil
	}))
	require.Len(t, outbox(t, j), api.MaxReports)
}

func TestJournalDamageIsSetAside(t *testing.T) {
	damage := map[string]func(t *testing.T, path string){
		"garbage": func(t *testing.T, path string) {
			t.Helper()
			require.NoError(t, os.WriteFile(path, []byte("not a journal at all, but long enough"), 0o600))
		},
		"cut short": func(t *testing.T, path string) {
			t.Helper()
			require.NoError(t, os.Truncate(path, 3*int64(os.Getpagesize())))
		},
		"zeroed pages": func(t *testing.T, path string) {
			t.Helper()
			info, err := os.Stat(path)
			require.NoError(t, err)
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			require.NoError(t, err)
			defer f.Close()
			start := 2 * int64(os.Getpagesize()) // behind the two headers
			_, err = f.WriteAt(make([]byte, info.Size()-start), start)
			require.NoError(t, err)
		},
		"foreign value": func(t *testing.T, path string) {
			t.Helper()
			db, err := bolt.Open(path, 0o600, nil)
			require.NoError(t, err)
			require.NoError(t, db.Update(func(tx *bolt.Tx) error {
				return tx.Bucket(bucketCommands).Put([]byte("r1:a1"), []byte("{"))
			}))
			require.NoError(t, db.Close())
		},
	}
	for name, spoil := range damage {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "journal.db")
			j := testJournal(t, path)
			accept(t, j, command(1), command(2))
			require.NoError(t, j.close())
			spoil(t, path)
			spoilt, err := os.ReadFile(path)
			require.NoError(t, err)

			_, err = openJournal(path)
			require.ErrorContains(t, err, "damaged")
			aside, err := filepath.Glob(path + ".corrupt-*")
			require.NoError(t, err)
			require.Len(t, aside, 1)
			kept, err := os.ReadFile(aside[0])
			require.NoError(t, err)
			require.True(t, bytes.Equal(spoilt, kept), "as it was found")
			require.Nil(t, next(t, testJournal(t, path)), "the next start goes on empty")
		})
	}
}
