package agent

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"redflag/api"
	"redflag/p2p"
)

func TestDiskFailuresSayWhatToDo(t *testing.T) {
	for _, cause := range []error{syscall.ENOSPC, syscall.EROFS, syscall.ENOENT, syscall.EIO} {
		f := failureOf(fmt.Errorf("write payload: %w: %w", p2p.ErrDisk, cause))
		require.Equal(t, api.ErrorDisk, f.Class)
		require.Contains(t, f.Message, cause.Error())
		require.Contains(t, f.Message, "redflag commands retry")
	}
	long := failureOf(errors.Join(syscall.ENOSPC, errors.New(strings.Repeat("x", 2*maxMessage))))
	require.LessOrEqual(t, len(long.Message), maxMessage)
	require.Contains(t, long.Message, "redflag commands retry", "the hint is never cut off")
}
