//go:build !linux

package conns

import (
	"net"
	"time"
)

// limitRest leaves it to the system.
func limitRest(*net.TCPConn, time.Duration) {}

// hasRest does not know.
func hasRest(*net.TCPConn) bool { return false }

// takesNothing does not know.
func takesNothing(*net.TCPConn) bool { return false }
