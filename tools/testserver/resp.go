package testserver

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// Limits of what is passed on: far above what Berth says to Redis.
const (
	maxFrameBytes = 1 << 20
	maxFrameParts = 1 << 12
	maxFrameDepth = 8
)

var errFrame = errors.New("no frame of the Redis protocol")

// readFrame reads one command or reply (RESP2 or RESP3) as its bytes.
func readFrame(r *bufio.Reader) ([]byte, error) {
	var frame bytes.Buffer
	err := copyFrame(&frame, r, 0)
	return frame.Bytes(), err
}

func copyFrame(to *bytes.Buffer, r *bufio.Reader, depth int) error {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return err
	}
	to.Write(line)
	line, ok := bytes.CutSuffix(line, []byte("\r\n"))
	if !ok || len(line) == 0 {
		return errFrame
	}
	switch line[0] {
	case '+', '-', ':', '_', '#', ',', '(':
		return nil
	case '$', '=', '!':
		n, err := length(line, maxFrameBytes)
		if err != nil || n < 0 {
			return err
		}
		_, err = io.CopyN(to, r, int64(n)+2)
		return err
	}
	parts, ok := map[byte]int{'*': 1, '~': 1, '>': 1, '%': 2, '|': 2}[line[0]]
	if !ok || depth == maxFrameDepth {
		return errFrame
	}
	n, err := length(line, maxFrameParts)
	if err != nil {
		return err
	}
	n *= parts
	if line[0] == '|' {
		n++ // what the attributes are of
	}
	for range n {
		if err := copyFrame(to, r, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// length is the number in a line; -1 stands for nothing.
func length(line []byte, most int) (int, error) {
	n, err := strconv.Atoi(string(line[1:]))
	if err != nil || n < -1 || n > most {
		return 0, fmt.Errorf("%w: %q", errFrame, line)
	}
	return n, nil
}

// splitCommand returns the words of a command; nil when the frame is none.
func splitCommand(frame []byte) []string {
	r := bufio.NewReader(bytes.NewReader(frame))
	line, err := r.ReadString('\n')
	if err != nil || line[0] != '*' {
		return nil
	}
	var words []string
	for {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, io.EOF) {
			return words
		}
		if err != nil || line[0] != '$' {
			return nil
		}
		n, err := length(bytes.TrimSpace(line), maxFrameBytes)
		if err != nil || n < 0 {
			return nil
		}
		word := make([]byte, n+2)
		if _, err := io.ReadFull(r, word); err != nil {
			return nil
		}
		words = append(words, string(word[:n]))
	}
}
