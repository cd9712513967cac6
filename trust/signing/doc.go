// Package signing holds the operator's offline keys and makes the metadata that
// says what may be installed. It owns a directory on the operator's machine:
// keys/root.pem, keys/targets.pem, root.json and targets.json.
//
// It must never be reachable from a node or an agent, and never sign on top of
// metadata that its own keys did not sign.
package signing
