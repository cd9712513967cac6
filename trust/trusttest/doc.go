// Package trusttest offers a whole TUF repository in memory, made by the real
// signing and online packages, to the tests of other packages. It owns the
// verbs that make such a repository go wrong. Nothing but tests may import it.
package trusttest
