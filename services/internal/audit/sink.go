package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"os"
	"time"
)

// Sink takes the lines of the audit log to a place outside of the database. It is safe
// for concurrent use.
type Sink interface {
	// Write takes whole lines; they are kept once it returns nil. After an error they
	// may be kept, in whole or in part, and come again. errRefused says that the sink
	// does not take these lines, though it may take others.
	Write(ctx context.Context, lines []byte) error
}

var (
	errRefused = errors.New("the audit sink refuses what it gets")
	errHangs   = errors.New("the audit sink hangs")
)

// OpenSink is the sink of a setting that was checked: stdout, file:/path, or the URL of
// a webhook, whose requests have the token, unless it is empty, and which is at no address
// that is denied.
func OpenSink(where, token string, denied func(netip.Addr) bool) (Sink, error) {
	if where == "stdout" {
		return newBounded(&stream{to: os.Stdout}), nil
	}
	u, err := url.Parse(where)
	switch {
	case err != nil:
		return nil, err
	case u.Scheme == "file":
		f := &file{path: u.Path}
		return newBounded(f), f.ensure()
	case u.Scheme == "https", u.Scheme == "http":
		return newWebhook(where, token, denied), nil
	default:
		return nil, fmt.Errorf("%q is no audit sink", u.Scheme)
	}
}

// How long a disk or a pipe may take for one write, and the write before it to end.
const (
	writeTimeout = 30 * time.Second
	turnTimeout  = time.Second
)

// bounded returns from a write in time even if the sink does not, such as one on a disk
// that is away. It writes nothing more until that write has ended, so that lines do not mix.
type bounded struct {
	to   Sink
	turn chan struct{}
}

func newBounded(to Sink) *bounded { return &bounded{to, make(chan struct{}, 1)} }

// Write implements Sink.
func (b *bounded) Write(ctx context.Context, lines []byte) error {
	select {
	case b.turn <- struct{}{}:
	case <-time.After(turnTimeout):
		return errHangs
	}
	written := make(chan error, 1)
	go func() {
		defer func() { <-b.turn }()
		written <- b.to.Write(ctx, lines)
	}()
	select {
	case err := <-written:
		return err
	case <-ctx.Done():
	case <-time.After(writeTimeout):
	}
	return errHangs
}

// stream writes to what a process always has.
type stream struct{ to io.Writer }

// Write implements Sink.
func (s *stream) Write(_ context.Context, lines []byte) error {
	_, err := s.to.Write(lines)
	return err
}

// file appends to a file, which others may move away at any time: then it makes another.
type file struct {
	path string
	open *os.File
}

// Write implements Sink. It returns after the lines are on disk.
func (f *file) Write(_ context.Context, lines []byte) error {
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
