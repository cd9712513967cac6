// Package api is the one vocabulary of RedFlag: the nouns that operators,
// nodes and agents exchange, the error that crosses the wire, the correlation
// id in a context, and the HTTP client that speaks all of it.
//
// It owns the wire types. It must never import another package of this
// module, and never hold behaviour that only one side needs.
//
// The structs carry two sets of tags. JSON is what operators and agents see.
// CBOR (RFC 8949, integer keys) is what the replicated log and its state
// store; a number, once used, is never given to another field.
package api
