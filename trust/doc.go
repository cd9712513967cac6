// Package trust decides what may be installed. It owns the TUF verifier: which
// targets the operator has signed, with what length, hash and swarm, and the
// trusted metadata that an earlier, older or forged answer is held against.
//
// It must never do network I/O of its own (callers bring a FetchFunc), never
// hold a payload in memory, and never be able to sign: the offline keys live in
// trust/signing, the nodes' key in trust/online, and nothing here imports them.
package trust
