package fsblob

import (
	"os"

	"golang.org/x/sys/unix"
)

// startWriteback asks the kernel to begin writing [off, off+n) to the disk, so
// that the flush at the end finds little left to do. It promises nothing, and
// its failure means nothing.
func startWriteback(f *os.File, off, n int64) {
	_ = unix.SyncFileRange(int(f.Fd()), off, n, unix.SYNC_FILE_RANGE_WRITE)
}

// flushFileSystem makes all that the file system of f holds durable.
func flushFileSystem(f *os.File) error { return unix.Syncfs(int(f.Fd())) }
