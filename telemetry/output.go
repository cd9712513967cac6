package telemetry

import (
	"io"
	"sync/atomic"
)

// Output is where a process's log goes: always to one writer, and from the
// moment when there is one also into a spool.
type Output struct {
	out   io.Writer
	spool atomic.Pointer[Spool]
}

// NewOutput returns an Output that writes to out.
func NewOutput(out io.Writer) *Output { return &Output{out: out} }

// Attach makes every further line go into the spool as well; nil ends that.
func (o *Output) Attach(s *Spool) { o.spool.Store(s) }

// Write implements io.Writer.
func (o *Output) Write(p []byte) (int, error) {
	if s := o.spool.Load(); s != nil {
		_, _ = s.Write(p)
	}
	return o.out.Write(p)
}
