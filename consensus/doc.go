// Package consensus runs the Raft cluster that orders every change: it opens
// the log, the snapshots and the state machine of one node, elects, replicates,
// carries proposals to the leader, and waits until this node has applied them.
//
// It owns the durability of what it acknowledged: a proposal that succeeded
// survives the loss of any minority of the nodes. It must never know HTTP, an
// agent's protocol or the meaning of an entry; and it opens no connection of
// its own, since the caller's listener and dialer have checked who is there.
package consensus
