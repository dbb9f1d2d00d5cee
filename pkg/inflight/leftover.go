package inflight

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/berth-registry/berth/pkg/oci"
)

const (
	filePrefix = "berth-inflight-"
	// mostLeftovers and oldestLeftover bound what a process takes over.
	mostLeftovers  = 64
	oldestLeftover = time.Hour
)

// Leftovers are the named files of streams that processes before this one have left, when
// they were killed or by Keep: the first bytes of blobs. It is safe for concurrent use.
//
// A file is found only until the system restarts: then it may lack bytes that had not reached
// the disk. Other damage is found by the digest of the whole blob, as for any source.
type Leftovers struct {
	held func(n int64)

	mu    sync.Mutex
	files map[string]leftover // by the key of their stream
}

// leftover is what has arrived of a blob.
type leftover struct {
	file *os.File // locked, so that only one process has it
	size int64    // of the blob
	n    int64    // of them that are there
}

// FindLeftovers takes what processes before have left in dir, "" being the system's
// directory for temporary files; what is of no use is removed. held is as in Options.
func FindLeftovers(dir string, held func(n int64)) *Leftovers {
	if held == nil {
		held = func(int64) {}
	}
	l := &Leftovers{held: held, files: map[string]leftover{}}
	paths, err := filepath.Glob(filepath.Join(cmp.Or(dir, os.TempDir()), filePrefix+"*"))
	if err != nil {
		return l // only for a directory whose name is a bad pattern: nothing is continued there
	}
	for _, path := range paths {
		f, mine := lockFile(path)
		if !mine {
			continue
		}
		key, left := examine(f)
		if _, twice := l.files[key]; key == "" || twice || len(l.files) == mostLeftovers {
			discard(f)
			continue
		}
		l.files[key] = left
		held(left.n)
	}
	return l
}

// lockFile opens a file that is this user's and of no process that runs.
func lockFile(path string) (*os.File, bool) {
	f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, false
	}
	info, err := f.Stat()
	if err == nil && info.Mode().IsRegular() {
		if owner, ok := info.Sys().(*syscall.Stat_t); ok && int(owner.Uid) == os.Geteuid() && lock(f) {
			return f, true
		}
	}
	_ = f.Close() // nothing was written
	return nil, false
}

// lock makes the file this process's until it is closed.
func lock(f *os.File) bool { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil }

// examine returns the key of the file's stream, "" if it is of no use.
func examine(f *os.File) (string, leftover) {
	info, err := f.Stat()
	parts := strings.Split(strings.TrimPrefix(filepath.Base(f.Name()), filePrefix), "-")
	if err != nil || len(parts) != 4 || parts[0] != thisBoot() || time.Since(info.ModTime()) > oldestLeftover {
		return "", leftover{}
	}
	size, err := strconv.ParseInt(parts[2], 10, 64)
	if n := info.Size(); err == nil && n > 0 && n <= size {
		return parts[1], leftover{file: f, size: size, n: n}
	}
	return "", leftover{}
}

// discard removes a file and lets it go.
func discard(f *os.File) {
	_ = os.Remove(f.Name()) // what stays is found by the next process
	_ = f.Close()           // its content is not needed
}

// thisBoot names the time since the system has started; "" where that is not known.
var thisBoot = sync.OnceValue(func() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return short(string(id))
})

// short is a name that is safe in a file's, and the same only for the same text.
func short(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:16])
}

// namedFile makes the file of a stream that a later process can continue.
func namedFile(dir, name string, size int64) (*os.File, error) {
	f, err := os.CreateTemp(dir, filePrefix+thisBoot()+"-"+short(name)+"-"+strconv.FormatInt(size, 10)+"-")
	if err == nil && !lock(f) { // another process was about to remove it as empty
		err = os.Remove(f.Name())
	}
	return f, err
}

// Continue makes a stream of what is left of the blob, as New makes an empty one; nil if
// nothing is left. Its writer calls Resume first.
func (l *Leftovers) Continue(o Options) *Stream {
	key := short(o.Name)
	l.mu.Lock()
	left, ok := l.files[key]
	ok = ok && (o.Size < 0 || o.Size == left.size)
	if ok {
		delete(l.files, key)
	}
	l.mu.Unlock()
	if !ok {
		return nil
	}
	hash := oci.NewHasher(o.Digest.Algorithm())
	if n, err := io.Copy(hash, io.NewSectionReader(left.file, 0, left.n)); err != nil || n != left.n {
		discard(left.file)
		l.held(-left.n)
		return nil
	}
	s := newStream(o, left.file, hash)
	s.size, s.named, s.written = left.size, true, left.n
	return s
}

// Return takes back a stream that nothing was written to, and that has no readers.
func (l *Leftovers) Return(o Options, s *Stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := short(o.Name)
	if _, taken := l.files[key]; taken {
		s.Release()
		return
	}
	l.files[key] = leftover{file: s.file, size: s.size, n: s.hash.Size()}
}

// Remove removes what was not continued.
func (l *Leftovers) Remove() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, left := range l.files {
		delete(l.files, key)
		discard(left.file)
		l.held(-left.n)
	}
}

// Keep leaves what was not continued to the next process.
func (l *Leftovers) Keep() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, left := range l.files {
		delete(l.files, key)
		_ = left.file.Close() // nothing was written
	}
}
