// Package delta turns one version of a payload into the next by what differs.
//
// It owns the format, the search for what the versions share, and the bounds
// of applying: a patch never makes a byte more than was signed, and however
// large the versions are, applying one takes a few megabytes. It must never
// decide which version is the right one: the caller verifies both ends.
//
// # Format
//
// "RFD1", the lengths of the old and the new version as uvarints, and then one
// zstd stream of sections until the new version is whole. A section is
//
//	uvarint number of steps
//	steps:  varint   bytes to move on in the old version
//	        uvarint  bytes to take from there
//	        uvarint  bytes that are new
//	what to add, byte by byte, to all that is taken (mostly zeros)
//	all that is new
//
// Adding instead of copying is what suits programs: between two builds most
// code is the same but for addresses, and the differences of those repeat.
package delta
