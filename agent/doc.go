// Package agent is one machine of the mesh. It polls the nearest node, keeps
// every command and every report in a journal on disk, and installs what both
// the node and the operator's signature name.
//
// It owns the machine's identity, journal and installed versions. It must
// never trust a node: a node says what to do next, the signed TUF targets say
// what may be installed. It never listens for anything but swarm peers, and
// never runs a command id twice.
//
// The data directory:
//
//	lock                  held while an agent runs
//	identity/             key and certificates; the key never leaves the machine
//	trust/                the pinned TUF root and the metadata seen so far
//	journal.db            commands, and reports that no node has taken yet
//	learnt.json           nodes and settings of the last poll
//	swarm/                payloads as the swarm keeps them
//	contents/             payloads that a delta made, where nothing else has them
//	artifacts/<name>/     versions/<version>/…, and the symlink current
//	starts                how often an updated agent began without a poll
//	prove.json            the poll that a new binary makes to show that it can
package agent
