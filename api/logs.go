package api

import (
	"cmp"
	"encoding/json"
	"time"
)

const (
	// MaxLogLine bounds a line of a log, in bytes.
	MaxLogLine = 16 << 10
	// MaxLogBatch bounds the lines that are sent at once, in bytes before
	// compression.
	MaxLogBatch = 512 << 10
)

// LogAck says up to which sequence number a node has an agent's lines.
type LogAck struct {
	Acked uint64 `json:"acked"`
}

// LogLine is one line of a log of the cluster. Source, Spool and Seq together
// name it: the same line from two nodes is one line.
type LogLine struct {
	At     time.Time       `json:"at"`
	Source string          `json:"source"` // the agent or the node that wrote it
	Spool  string          `json:"spool"`  // one life of the source's data directory
	Seq    uint64          `json:"seq"`
	Line   json.RawMessage `json:"line"` // as it was written
}

// Compare orders lines by time; 0 means the same line.
func (l LogLine) Compare(o LogLine) int {
	return cmp.Or(l.At.Compare(o.At), cmp.Compare(l.Source, o.Source), cmp.Compare(l.Spool, o.Spool), cmp.Compare(l.Seq, o.Seq))
}

// LogQuery asks for lines; fields that are set must all match.
type LogQuery struct {
	Correlation string    `json:"correlation,omitempty"`
	Source      string    `json:"source,omitempty"`
	Since       time.Time `json:"since,omitzero"`
	Until       time.Time `json:"until,omitzero"`
	Grep        string    `json:"grep,omitempty"`  // words, in this order
	Level       string    `json:"level,omitempty"` // this level or a worse one
	Limit       int       `json:"limit,omitempty"`
	// After is the last line of the page before.
	After *LogLine `json:"after,omitempty"`
}

// LogAnswer is a page of lines in order of time.
type LogAnswer struct {
	Lines []LogLine `json:"lines"`
	// Silent names the nodes that did not answer: their lines may be missing.
	Silent []string `json:"silent,omitempty"`
	// More says that the page is full: ask again, after the last line.
	More bool `json:"more,omitempty"`
}
