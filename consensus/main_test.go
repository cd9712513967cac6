//go:build unix

package consensus_test

import (
	"os"
	"testing"

	"redflag/consensus/consensustest"
)

func TestMain(m *testing.M) {
	consensustest.RunChild() // which never returns in a process that is to be a node
	os.Exit(m.Run())
}
