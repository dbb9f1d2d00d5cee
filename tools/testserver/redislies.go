package testserver

import (
	"slices"
	"strconv"
	"strings"
)

// isLock says whether a command asks for what only one may have.
func isLock(words []string) bool {
	return len(words) > 3 && words[0] == "SET" && slices.ContainsFunc(words[3:], func(w string) bool { return strings.EqualFold(w, "NX") })
}

func isScript(words []string) bool { return len(words) > 2 && strings.HasPrefix(words[0], "EVAL") }

func granted(words []string, frame []byte) []byte {
	switch {
	case isLock(words):
		return []byte("+OK\r\n")
	case isScript(words) && frame[0] == ':':
		return []byte(":1\r\n")
	default:
		return frame
	}
}

func denied(words []string, frame []byte) []byte {
	switch {
	case isLock(words):
		return []byte("$-1\r\n")
	case isScript(words) && frame[0] == ':':
		return []byte(":0\r\n")
	default:
		return frame
	}
}

// expire lets the keys of a command end.
func (l *LyingRedis) expire(words []string) {
	var keys []string
	switch {
	case len(words) > 1 && words[0] == "SET":
		keys = words[1:2]
	case isScript(words):
		if n, err := strconv.Atoi(words[2]); err == nil && n <= len(words)-3 {
			keys = words[3 : 3+n]
		}
	}
	if len(keys) == 0 {
		return
	}
	_ = l.control.Del(l.context, keys...).Err() // the server may be stopped at the time
}
