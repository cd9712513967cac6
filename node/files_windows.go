package node

import "math"

// openFiles is how many files and connections this process may have open.
func openFiles() int64 { return math.MaxInt64 }
