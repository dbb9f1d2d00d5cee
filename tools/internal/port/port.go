// Package port finds ports for servers that keep theirs over many lives.
package port

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
)

// The kernel gives out no port in this range: outgoing connections and listeners
// on port 0 get theirs above it, unless a machine is set otherwise. A port from
// there may be taken while the server that has it is down.
const (
	least = 12_000
	limit = 32_000
)

// held is how many ports a process keeps from others: of one that starts many
// servers, one after the other, the last ones.
const held = 256

// Free returns n loopback addresses, host:port, on which no process listens. No
// other process that asks here gets the last held ones while this one lives.
func Free(n int) ([]string, error) {
	var addrs []string
	for len(addrs) < n {
		port := least + rand.IntN(limit-least)
		mine, err := reserve(port)
		if err != nil {
			return nil, err
		}
		if !mine {
			continue
		}
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		l, err := net.Listen("tcp", addr)
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := l.Close(); err != nil {
			return nil, err
		}
		addrs = append(addrs, addr)
	}
	return addrs, nil
}

// reserved are the locked files of this process's ports, oldest first. They stay
// open, or the locks would end.
var reserved struct {
	sync.Mutex
	files []*os.File
}

// reserve locks the file that stands for a port. It is false where another
// process, or this one, has it locked.
func reserve(port int) (bool, error) {
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("berth-ports-%d", os.Getuid()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return false, err
	}
	f, err := os.OpenFile(filepath.Join(dir, strconv.Itoa(port)), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return false, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = nil
		}
		return false, errors.Join(err, f.Close())
	}
	reserved.Lock()
	defer reserved.Unlock()
	reserved.files = append(reserved.files, f)
	if len(reserved.files) <= held {
		return true, nil
	}
	oldest := reserved.files[0]
	reserved.files = reserved.files[1:]
	return true, oldest.Close()
}
