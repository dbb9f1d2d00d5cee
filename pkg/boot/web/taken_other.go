//go:build !linux

package web

import "syscall"

// confirmed does not know.
func confirmed(syscall.RawConn) (uint64, bool) { return 0, false }

// unconfirmed does not know.
func unconfirmed(syscall.RawConn) int64 { return 0 }

func isReset(syscall.RawConn) bool { return false }
