package testserver

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// swap keeps the frame for the next one who asks.
func (l *LyingRedis) swap(frame []byte) []byte {
	if before := l.swapped.Swap(&frame); before != nil {
		return *before
	}
	return frame
}

// wrongReplies are each wrong in its own way: in length, type, number, or form.
var wrongReplies = []string{
	"$9223372036854775807\r\n", "$2147483647\r\nabc", "$1048577\r\n", "$-2\r\n", "$5\r\nab\r\n", "$x\r\n",
	"*9223372036854775807\r\n", "*2147483647\r\n", strings.Repeat("*1\r\n", 1000), "*-1\r\n", "*2\r\n$1\r\nx\r\n:0\r\n", "*0\r\n",
	":9223372036854775808\r\n", ":-9223372036854775808\r\n", ":NaN\r\n", "+OK\r\n+OK\r\n:1\r\n", "+\r\n", "-\r\n", "-ERR\r\n",
	"*1\r\n:1\r\n", "*1\r\n$9\r\nsubscribe\r\n", "*3\r\n$7\r\nmessage\r\n:1\r\n:2\r\n", "*2\r\n$4\r\npong\r\n:1\r\n", "*2\r\n*0\r\n*0\r\n",
	"%1\r\n+a\r\n:1\r\n", "|1\r\n", ",nan\r\n", "(x\r\n", "#y\r\n", "_\r\n", "=3\r\nabc\r\n", "\r\n", "\x00\xff\x7f", "HTTP/1.1 200 OK\r\n\r\n", "",
}

func (l *LyingRedis) garbage() []byte {
	n := l.wrong.Add(1)
	return []byte(wrongReplies[int(n)%len(wrongReplies)])
}

// isLock says whether a command asks for what only one may have.
func isLock(words []string) bool {
	return len(words) > 3 && words[0] == "SET" && slices.ContainsFunc(words[3:], func(w string) bool { return strings.EqualFold(w, "NX") })
}

func isScript(words []string) bool { return len(words) > 2 && strings.HasPrefix(words[0], "EVAL") }

// bulkNumber is a number as text within an array.
var bulkNumber = regexp.MustCompile(`\$\d+\r\n\d+\r\n`)

func granted(words []string, frame []byte) []byte {
	switch {
	case isLock(words):
		return []byte("+OK\r\n")
	case isScript(words) && frame[0] == ':':
		return []byte(":1\r\n")
	case isScript(words) && frame[0] == '*':
		return bulkNumber.ReplaceAll(frame, []byte("$$1\r\n0\r\n"))
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
	case isScript(words) && frame[0] == '*':
		return []byte("*-1\r\n")
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
