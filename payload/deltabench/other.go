//go:build !unix

package main

import "os"

func main() {
	_, _ = os.Stderr.WriteString("deltabench: it measures memory in a way that this system does not have\n")
	os.Exit(1)
}
