// Package node is one regional server: it composes consensus, gossip, the
// swarm and the HTTP API, and owns their life from start to shutdown.
//
// It owns the route table, the soft state that is never replicated (presence,
// the swarm tracker) and the controllers that run on the leader. It must
// never open a connection to an agent, hold an operator's signing key, or
// import package agent: the two meet in package api.
package node
