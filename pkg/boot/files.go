package boot

import (
	"math"
	"syscall"
)

// MaxFiles is how many files and connections the process may have open.
func MaxFiles() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 1024 // the usual minimum
	}
	return int(min(limit.Cur, math.MaxInt32))
}
