// Package state is the replicated state machine: what every node of a cluster
// knows, as rows in a Pebble store, changed by one log entry at a time.
//
// It owns the format of log entries, the rows, the snapshot stream and the
// rules of every change. The same entries in the same order give the same rows
// on every node, byte for byte. So it must never look at a clock, draw a random
// value, log, start a goroutine or know Raft: time and random values travel in
// the entry.
//
// Durability belongs to the log. The store has no write-ahead log of its own:
// a crash takes it back to an earlier applied index, whole, and the log is
// replayed from there. Flush moves that floor up.
package state
