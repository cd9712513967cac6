// Package pki is the cluster's own certificate authority: who is a node, who
// is an agent, and how each proves it. It owns identities and their
// certificates, the TLS configurations of the mesh port, registration tokens
// and the sealing of secrets in the replicated state.
//
// Everything is Ed25519, TLS 1.3 and mutual. The package must never log,
// print or put into an error a key, a secret or a token, and it opens no
// connection of its own.
package pki
