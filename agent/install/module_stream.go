package install

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

const (
	pipeNext = "stream-next"
	// pipePoll is how often a pipe is tried until somebody reads it.
	pipePoll = 5 * time.Millisecond
)

// download runs the state in which the module may read the payload from pipes,
// and keeps the payload as files if it does not.
func (m *moduleInstaller) download(ctx context.Context, job *Job) error {
	files, err := m.moduleFiles(job)
	if err != nil {
		return err
	}
	sizes, err := m.ask(ctx, job, "ProvidePayloadFileSizes")
	if err != nil {
		return err
	}
	s := &streams{tree: m.tree(job), files: files, sizes: sizes == "Yes"}
	if err := s.make(); err != nil {
		return fmt.Errorf("make pipes: %w", err)
	}
	state := "Download"
	if s.sizes {
		state = "DownloadWithFileSizes"
	}
	if err := m.call(ctx, job, state, func() func() { return s.serve(ctx) }); err != nil {
		return err
	}
	if err := s.remove(); err != nil {
		return err
	}
	switch {
	case !s.asked:
		return m.keepFiles(job, files)
	case s.err != nil:
		return fmt.Errorf("%s: %w", state, s.err)
	}
	return nil
}

// streams hands a payload to a module by named pipes: a line of stream-next
// names the next pipe, and nothing means the end.
type streams struct {
	tree  string
	files []moduleFile
	sizes bool

	// Valid once the function that serve returns has returned.
	asked bool // the module has read stream-next
	err   error
}

func (s *streams) make() error {
	if err := os.Mkdir(filepath.Join(s.tree, "streams"), 0o700); err != nil {
		return err
	}
	for _, f := range s.files {
		if err := mkfifo(filepath.Join(s.tree, "streams", f.name)); err != nil {
			return err
		}
	}
	return mkfifo(filepath.Join(s.tree, pipeNext))
}

func (s *streams) remove() error {
	return errors.Join(os.Remove(filepath.Join(s.tree, pipeNext)), os.RemoveAll(filepath.Join(s.tree, "streams")))
}

// serve answers the module until the returned function is called, which waits
// for the end.
func (s *streams) serve(ctx context.Context) (ended func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.err = s.hand(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

func (s *streams) hand(ctx context.Context) error {
	for _, f := range s.files {
		line := "streams/" + f.name
		if s.sizes {
			line = fmt.Sprintf("%s %d", line, f.size)
		}
		if err := s.write(ctx, pipeNext, func(w io.Writer) error {
			s.asked = true
			_, err := io.WriteString(w, line+"\n")
			return err
		}); err != nil {
			return fmt.Errorf("the module did not ask for %s: %w", f.name, err)
		}
		err := s.write(ctx, filepath.Join("streams", f.name), func(w io.Writer) error { return copyFile(w, f.path) })
		if err != nil {
			return fmt.Errorf("the module did not read all of %s: %w", f.name, err)
		}
	}
	// A module that knows how many files there are may leave out the last read.
	_ = s.write(ctx, pipeNext, func(io.Writer) error { return nil })
	return nil
}

// write waits until somebody reads the pipe, and fills it.
func (s *streams) write(ctx context.Context, pipe string, fill func(io.Writer) error) error {
	again := time.NewTicker(pipePoll)
	defer again.Stop()
	for {
		w, err := openFIFO(filepath.Join(s.tree, pipe))
		if err == nil {
			stop := context.AfterFunc(ctx, func() { _ = w.SetWriteDeadline(time.Now()) })
			err = fill(w)
			stop()
			return errors.Join(err, w.Close())
		}
		if !errors.Is(err, errNoReader) {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-again.C:
		}
	}
}
