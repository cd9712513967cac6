package gossip

import (
	"bytes"
	"io"
	"log"

	"github.com/hashicorp/go-hclog"
)

// misleading are warnings of memberlist's that take UDP for granted. Over our
// streams they tell an operator to look for what is not wrong.
var misleading = [][]byte{
	[]byte("Binding to public address without encryption"), // TLS encrypts
	[]byte("over TCP but UDP probes failed"),               // a stream was slow to start
}

// adapt returns the logger that memberlist wants, with its levels kept.
func adapt(l hclog.Logger) *log.Logger {
	return log.New(lines{
		loud:  l.StandardWriter(&hclog.StandardLoggerOptions{InferLevels: true}),
		quiet: l.StandardWriter(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}, "", 0)
}

type lines struct{ loud, quiet io.Writer }

// Write implements io.Writer: log.Logger calls it once for each line.
func (l lines) Write(line []byte) (int, error) {
	for _, m := range misleading {
		if bytes.Contains(line, m) {
			return l.quiet.Write(line)
		}
	}
	return l.loud.Write(line)
}
