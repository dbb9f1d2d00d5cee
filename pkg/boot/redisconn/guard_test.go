package redisconn

import (
	"errors"
	"strings"
	"testing"
)

func TestR16_RepliesOutOfBounds(t *testing.T) {
	for _, c := range []struct {
		reply string
		fine  bool
	}{
		{"+OK\r\n:1\r\n-ERR 99999999999\r\n$-1\r\n*-1\r\n", true},
		{strings.Repeat("*-1\r\n$-1\r\n*2\r\n$3\r\n*9\r\r\n:5\r\n", 5000), true},
		{"$65536\r\n" + strings.Repeat("*9999999\r\n", 6554)[:65536] + "\r\n+OK\r\n", true},
		{"*3\r\n$7\r\nmessage\r\n$1\r\nx\r\n$0\r\n\r\n", true},
		{"$65537\r\n", false},
		{"$9223372036854775807\r\n", false},
		{"*2147483647\r\n", false},
		{"%600\r\n", false},
		{strings.Repeat("*1\r\n", 2000), false},
		{strings.Repeat("*2\r\n:1\r\n", 2000), false},
		{"+" + strings.Repeat("a", 5000), false},
	} {
		for _, step := range []int{1, 7, len(c.reply)} {
			var g replyGuard
			var err error
			for at := 0; at < len(c.reply) && err == nil; at += step {
				err = g.scan([]byte(c.reply[at:min(at+step, len(c.reply))]))
			}
			if (err == nil) != c.fine || err != nil && !errors.Is(err, errReply) {
				t.Errorf("%.40q in steps of %d: %v", c.reply, step, err)
			}
		}
	}
}

// However a stream is cut, the guard says the same, and what it lets pass
// claims no length that go-redis would choke on.
func FuzzReplyGuard(f *testing.F) {
	for _, s := range []string{"+OK\r\n", "$3\r\nabc\r\n", "*2\r\n:1\r\n$-1\r\n", "$99999999\r\n", "%1\r\n+a\r\n|1\r\n", "\r\n\n", "*1\r\n*1\r\n*1\r\n"} {
		f.Add([]byte(s), 1)
	}
	f.Fuzz(func(t *testing.T, stream []byte, cut int) {
		cut = min(max(cut, 0), len(stream))
		var whole, parts replyGuard
		errWhole := whole.scan(stream)
		errParts := parts.scan(stream[:cut])
		if errParts == nil {
			errParts = parts.scan(stream[cut:])
		}
		if (errWhole == nil) != (errParts == nil) {
			t.Fatalf("whole: %v, cut at %d: %v", errWhole, cut, errParts)
		}
		if errWhole == nil && (whole != parts || whole.skip > maxReplyText+2 || whole.parts+whole.due > maxReplyParts || whole.due < 0) {
			t.Fatalf("whole: %+v, cut: %+v", whole, parts)
		}
	})
}
