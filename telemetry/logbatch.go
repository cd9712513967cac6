package telemetry

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"

	"redflag/api"
)

var encoder = sync.OnceValues(func() (*zstd.Encoder, error) {
	return zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(128<<10), zstd.WithLowerEncoderMem(true))
})

var decoder = sync.OnceValues(func() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(api.MaxLogBatch), zstd.WithDecoderLowmem(true))
})

// PackLines compresses lines for the wire.
func PackLines(lines []byte) ([]byte, error) {
	enc, err := encoder()
	if err != nil {
		return nil, fmt.Errorf("compress log lines: %w", err)
	}
	return enc.EncodeAll(lines, nil), nil
}

// maxLines bounds a batch: each line costs its reader more than its bytes. A line
// of a log is longer than 64 bytes.
const maxLines = api.MaxLogBatch / 64

// UnpackLines is the inverse of PackLines. It refuses what unpacks to more
// than a batch, and lines that are too long or empty, or too many.
func UnpackLines(b []byte) ([][]byte, error) {
	dec, err := decoder()
	if err != nil {
		return nil, err
	}
	raw, err := dec.DecodeAll(b, nil)
	if err != nil || len(raw) > api.MaxLogBatch {
		return nil, api.Errorf(api.CodeInvalid, "the log batch cannot be unpacked")
	}
	var lines [][]byte
	for line := range bytes.Lines(raw) {
		line = bytes.TrimSuffix(line, []byte("\n"))
		if len(line) == 0 || len(line) > api.MaxLogLine {
			return nil, api.Errorf(api.CodeInvalid, "a log line of %d bytes is none", len(line))
		}
		if len(lines) == maxLines {
			return nil, api.Errorf(api.CodeInvalid, "a log batch has %d lines at most", maxLines)
		}
		lines = append(lines, line)
	}
	return lines, nil
}
