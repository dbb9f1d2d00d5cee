package gate

import "golang.org/x/sys/unix"

// kind is what there is to know of a gated system call.
type kind struct {
	name  string
	path  int // which argument names the path, with its directory's descriptor before it; -1 when the first one is a descriptor
	flags int // which argument holds the flags of an open; 0 = it is none
}

// gated are the calls that change what a disk or a peer sees.
var gated = join(map[int32]kind{
	unix.SYS_WRITE:     {name: "write", path: -1},
	unix.SYS_WRITEV:    {name: "writev", path: -1},
	unix.SYS_PWRITE64:  {name: "pwrite64", path: -1},
	unix.SYS_PWRITEV:   {name: "pwritev", path: -1},
	unix.SYS_FSYNC:     {name: "fsync", path: -1},
	unix.SYS_FDATASYNC: {name: "fdatasync", path: -1},
	unix.SYS_FTRUNCATE: {name: "ftruncate", path: -1},
	unix.SYS_OPENAT:    {name: "openat", path: 1, flags: 2},
	unix.SYS_MKDIRAT:   {name: "mkdirat", path: 1},
	unix.SYS_UNLINKAT:  {name: "unlinkat", path: 1},
	unix.SYS_RENAMEAT2: {name: "renameat2", path: 1},
}, older)

func kindOf(nr int32) kind { return gated[nr] }

func join(a, b map[int32]kind) map[int32]kind {
	for nr, k := range b {
		a[nr] = k
	}
	return a
}
