package s3blob

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/berth-registry/berth/pkg/fairgate"
	"github.com/berth-registry/berth/pkg/internal/tempfile"
)

// chunkSize is the unit of the memory that uploads share.
const chunkSize = 256 << 10

type chunk = [chunkSize]byte

// pool is the memory of all uploads. What does not fit goes to temporary files,
// so that a few slow clients that hold it do not block other clients (fault R53).
//
// It is outside the Go heap, which may grow to twice its live size before it is
// collected, and these chunks would be most of it.
type pool struct {
	gate *fairgate.Gate[int64] // of chunks, by tenant
	dir  string

	mu     sync.Mutex
	idle   []*chunk // mapped and unused
	closed bool     // what comes back is unmapped
}

func newPool(size int64, dir string) *pool {
	most := max(size/chunkSize, 1)
	kept := most / 8 // reserved reserved for tenants that have little
	return &pool{gate: fairgate.New[int64](fairgate.Options{Capacity: most - kept, Assured: most / 32, Beyond: kept}), dir: dir}
}

// get returns a chunk for what the caller acquired; nil when the system has no memory.
func (p *pool) get() *chunk {
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		c := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		return c
	}
	p.mu.Unlock()
	b, err := unix.Mmap(-1, 0, chunkSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil
	}
	return (*chunk)(b)
}

// put gives a chunk of the tenant's back.
func (p *pool) put(tenant int64, c *chunk) {
	p.mu.Lock()
	if p.closed {
		unmap(c)
	} else {
		p.idle = append(p.idle, c)
	}
	p.mu.Unlock()
	p.gate.Release(tenant, 1)
}

// close gives the memory back to the system, that in use when it comes back.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, c := range p.idle {
		unmap(c)
	}
	p.idle = nil
}

func unmap(c *chunk) {
	_ = unix.Munmap(c[:]) // it fails only for what was not mapped
}

// spillSize is how much is written to a temporary file at a time.
const spillSize = 32 << 10

var spills = sync.Pool{New: func() any { return new([spillSize]byte) }}

// spool keeps the bytes of one part, or of a tail, until they are stored: the
// first ones in memory, and from where there was none the rest in a file
// without a name.
type spool struct {
	pool   *pool
	tenant int64
	chunks []*chunk
	file   *os.File
	spill  *[spillSize]byte // what is in flight to file
	size   int64
	crc    uint32

	// The body of an abandoned request may still be read for a moment.
	reading sync.Mutex
	freed   bool
}

func (p *pool) spool(tenant int64) *spool { return &spool{pool: p, tenant: tenant} }

// space returns room for the next bytes, at most limit. It takes memory if its
// tenant may have some; else, if an earlier part of the upload is still being sent,
// it waits for that; else it continues in a file. busy says what to wait for.
func (s *spool) space(limit int64, busy func() <-chan struct{}) ([]byte, error) {
	free, err := s.room(busy)
	return free[:min(int64(len(free)), limit)], err
}

func (s *spool) room(busy func() <-chan struct{}) ([]byte, error) {
	if s.file != nil {
		return s.spill[:], nil
	}
	if free := int64(len(s.chunks))*chunkSize - s.size; free > 0 {
		return s.chunks[len(s.chunks)-1][chunkSize-free:], nil
	}
	for !s.pool.gate.TryAcquire(s.tenant, 1) {
		wait := busy()
		if wait == nil {
			return s.toFile()
		}
		<-wait
	}
	return s.grow()
}

// toFile continues in a file without a name.
func (s *spool) toFile() ([]byte, error) {
	f, err := tempfile.Unlinked(s.pool.dir, "berth-part-")
	if err != nil {
		return nil, down(err, "make a temporary file")
	}
	s.file, s.spill = f, spills.Get().(*[spillSize]byte)
	return s.spill[:], nil
}

// grow takes the chunk that was acquired.
func (s *spool) grow() ([]byte, error) {
	c := s.pool.get()
	if c == nil {
		s.pool.gate.Release(s.tenant, 1)
		return s.toFile()
	}
	s.chunks = append(s.chunks, c)
	return c[:], nil
}

// keep takes the bytes that were put into the space.
func (s *spool) keep(b []byte) error {
	s.crc = crc32.Update(s.crc, castagnoli, b)
	if s.file != nil {
		if _, err := s.file.Write(b); err != nil {
			return down(err, "write a temporary file")
		}
	}
	s.size += int64(len(b))
	return nil
}

// inMemory is how many bytes lie before those in the file.
func (s *spool) inMemory() int64 {
	if s.file == nil {
		return s.size
	}
	return int64(len(s.chunks)) * chunkSize
}

// ReadAt reads what was kept.
func (s *spool) ReadAt(b []byte, off int64) (int, error) {
	s.reading.Lock()
	defer s.reading.Unlock()
	if s.freed {
		return 0, os.ErrClosed
	}
	n := 0
	for n < len(b) && off < s.inMemory() {
		end := min(chunkSize, s.inMemory()-off/chunkSize*chunkSize)
		m := copy(b[n:], s.chunks[off/chunkSize][off%chunkSize:end])
		n, off = n+m, off+int64(m)
	}
	switch {
	case n == len(b):
		return n, nil
	case s.file == nil || off >= s.size:
		return n, io.EOF
	}
	m, err := s.file.ReadAt(b[n:], off-s.inMemory())
	return n + m, err
}

// reader reads what was kept from the first byte.
func (s *spool) reader() io.ReadSeeker { return io.NewSectionReader(s, 0, s.size) }

// fill keeps what r gives until io.EOF.
func (s *spool) fill(r io.Reader, busy func() <-chan struct{}) error {
	for {
		b, err := s.space(chunkSize, busy)
		if err != nil {
			return err
		}
		n, err := r.Read(b)
		if kept := s.keep(b[:n]); kept != nil {
			return kept
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read a tail: %w", err)
		}
	}
}

// free gives the memory and the file back.
func (s *spool) free() {
	s.reading.Lock()
	defer s.reading.Unlock()
	s.freed = true
	for _, c := range s.chunks {
		s.pool.put(s.tenant, c)
	}
	s.chunks = nil
	if s.file != nil {
		_ = s.file.Close() // it has no name: nothing is lost
		spills.Put(s.spill)
		s.file = nil
	}
}

// idle is for a spool without other parts to wait for.
func idle() <-chan struct{} { return nil }
