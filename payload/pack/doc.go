// Package pack makes payloads smaller on the way and whole again, by zstd
// (RFC 8878).
//
// It owns the bounds of that: a fixed window, so that the smallest machine can
// unpack what was packed, and never a byte more than was signed. It must never
// hold a payload in memory.
package pack
