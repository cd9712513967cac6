//go:build !unix

package install

import (
	"errors"
	"os"
)

var errNoReader = errors.New("pipes with names need a Unix")

func mkfifo(string) error { return errors.ErrUnsupported }

func openFIFO(string) (*os.File, error) { return nil, errors.ErrUnsupported }
