package p2p

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// diskError marks err as a failure of the piece store.
func diskError(op string, err error) error {
	if err == nil || errors.Is(err, ErrDisk) {
		return err
	}
	return fmt.Errorf("%s: %w: %w", op, ErrDisk, err)
}

// syncFile flushes a file or a folder.
func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

func removeIfExists(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
