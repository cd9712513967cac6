//go:build !linux

// Command swarmbench measures how close a swarm comes to the physical limit.
// It needs the network namespaces of Linux.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "swarmbench: network namespaces exist on Linux only")
	os.Exit(1)
}
