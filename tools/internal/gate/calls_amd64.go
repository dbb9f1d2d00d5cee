package gate

import "golang.org/x/sys/unix"

// older are calls that newer architectures do without.
var older = map[int32]kind{
	unix.SYS_OPEN:     {name: "open", path: 0, flags: 1},
	unix.SYS_MKDIR:    {name: "mkdir", path: 0},
	unix.SYS_UNLINK:   {name: "unlink", path: 0},
	unix.SYS_RENAME:   {name: "rename", path: 0},
	unix.SYS_RENAMEAT: {name: "renameat", path: 1},
}
