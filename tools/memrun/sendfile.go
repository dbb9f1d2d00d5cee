package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
)

// sendfileResult is the end of a traced call: "sendfile(9, 12, [0] => [4096], 65536) = 4096".
var sendfileResult = regexp.MustCompile(`(?:sendfile|splice).*= (\d+)$`)

// sentBySendfile counts the bytes that a process sends by sendfile (or splice,
// which Go may use in its place) while f runs.
func sentBySendfile(ctx context.Context, pid int, f func() error) (int64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	trace := exec.CommandContext(ctx, "strace", "-f", "-e", "trace=sendfile,splice", "-p", strconv.Itoa(pid))
	trace.Cancel = func() error { return trace.Process.Signal(syscall.SIGINT) } // it detaches first
	said, err := trace.StderrPipe()
	if err != nil {
		return 0, err
	}
	if err := trace.Start(); err != nil {
		return 0, fmt.Errorf("strace: %w", err)
	}
	attached, counted := make(chan bool, 1), make(chan int64, 1)
	go func() { counted <- count(said, attached) }()
	if !<-attached {
		return 0, errors.Join(errors.New("strace cannot attach to the server"), trace.Wait())
	}
	err = f()
	cancel()
	sent := <-counted
	_ = trace.Wait() // it was interrupted: that is its error
	return sent, err
}

// count adds up the results in strace's output, and says once whether strace
// has attached.
func count(said io.Reader, attached chan<- bool) int64 {
	var sum int64
	told := false
	for lines := bufio.NewScanner(said); lines.Scan(); {
		if !told && strings.Contains(lines.Text(), "attached") {
			told = true
			attached <- true
		}
		if m := sendfileResult.FindStringSubmatch(lines.Text()); m != nil {
			n, err := strconv.ParseInt(m[1], 10, 64)
			if err == nil {
				sum += n
			}
		}
	}
	if !told {
		attached <- false
	}
	return sum
}
