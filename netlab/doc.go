// Package netlab builds small networks of Linux network namespaces: hosts and
// switches joined by links of a set rate. Tests and benchmarks measure there
// what really crosses a wire. It needs root and the ip and tc commands.
//
// It must never touch the network of the machine itself, and is never part of
// the product.
package netlab
