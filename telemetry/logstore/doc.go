// Package logstore keeps the log lines of many machines in one SQLite file
// with a full-text index, within an age and a size.
//
// It owns the file and the rule that a line is kept once: lines of a source
// come in order of their numbers, and what is not newer than the newest is a
// repeat. It must never be asked to wait for a reader: whoever writes logs has
// something better to do.
package logstore
