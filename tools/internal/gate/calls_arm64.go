package gate

import "golang.org/x/sys/unix"

// older are calls that newer architectures do without.
var older = map[int32]kind{unix.SYS_RENAMEAT: {name: "renameat", path: 1}}
