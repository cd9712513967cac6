// Package archive keeps commands that have ended on a node's disk, after the
// replicated state has forgotten them.
//
// It is a folder of append-only segments, bounded in size: the oldest segment
// goes first. A line is a checksum and a JSON record, so that a crash costs at
// most the lines that were not synced, and a reader knows a torn one. It must
// never be asked whether something is true now: it holds what has ended.
package archive
