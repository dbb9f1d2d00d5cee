package audit

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"sync"
)

// Sink takes the lines of the audit log to a place outside of the database. It is safe
// for concurrent use.
type Sink interface {
	// Write takes whole lines; they are kept once it returns nil. After an error they
	// may be kept, in whole or in part, and come again.
	Write(ctx context.Context, lines []byte) error
}

// OpenSink is the sink of a setting that was checked: stdout, file:/path, or the URL of
// a webhook, whose requests have the token, unless it is empty.
func OpenSink(where, token string) (Sink, error) {
	if where == "stdout" {
		return &stream{to: os.Stdout}, nil
	}
	u, err := url.Parse(where)
	switch {
	case err != nil:
		return nil, err
	case u.Scheme == "file":
		f := &file{path: u.Path}
		return f, f.ensure()
	case u.Scheme == "https", u.Scheme == "http":
		return newWebhook(where, token), nil
	default:
		return nil, fmt.Errorf("%q is no audit sink", u.Scheme)
	}
}

// stream writes to what a process always has.
type stream struct {
	mu sync.Mutex
	to io.Writer
}

// Write implements Sink.
func (s *stream) Write(_ context.Context, lines []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.to.Write(lines)
	return err
}

// file appends to a file, which others may move away at any time: then it makes another.
type file struct {
	path string

	mu   sync.Mutex
	open *os.File
}

// Write implements Sink. It returns after the lines are on disk.
func (f *file) Write(_ context.Context, lines []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.ensure(); err != nil {
		return err
	}
	if _, err := f.open.Write(lines); err != nil {
		return err
	}
	return f.open.Sync()
}

// ensure opens the file of the path, unless it is the open one.
func (f *file) ensure() error {
	if f.open != nil {
		there, err := os.Stat(f.path)
		mine, errOpen := f.open.Stat()
		if err == nil && errOpen == nil && os.SameFile(there, mine) {
			return f.endLine(mine.Size())
		}
		_ = f.open.Close() // every line of it is on disk
		f.open = nil
	}
	opened, err := os.OpenFile(f.path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	f.open = opened
	info, err := opened.Stat()
	if err != nil {
		return err
	}
	return f.endLine(info.Size())
}

// endLine ends a line that a process which was killed, or a full disk, left unfinished.
func (f *file) endLine(size int64) error {
	if size == 0 {
		return nil
	}
	last := make([]byte, 1)
	if _, err := f.open.ReadAt(last, size-1); err != nil || last[0] == '\n' {
		return err
	}
	_, err := f.open.Write([]byte{'\n'})
	return err
}
