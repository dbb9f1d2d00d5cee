package testserver

import (
	"context"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/tidwall/redcon"
)

// RedisMode is how a LyingRedis treats its clients.
type RedisMode string

// The modes. In those that say nothing else, commands reach the server, and
// what becomes of their replies is the lie.
const (
	RedisHonest       RedisMode = "honest"
	RedisRefused      RedisMode = "refused"        // connections are cut, and refused
	RedisBlackhole    RedisMode = "blackhole"      // connections are taken, commands vanish
	RedisDropRequests RedisMode = "drop requests"  // as if one way were cut: nothing reaches the server, its messages come through
	RedisDropReplies  RedisMode = "drop replies"   // the other way: the server does all it is told, and nothing comes back
	RedisSlow         RedisMode = "slow 5 s"       // each reply waits
	RedisReset        RedisMode = "reset midreply" // half of a reply, then a reset
	RedisGrantAll     RedisMode = "grant all"      // SET NX is answered OK, a script's number is 1
	RedisDenyAll      RedisMode = "deny all"       // SET NX is answered nil, a script's number is 0
	RedisExpireNow    RedisMode = "expire now"     // what a command or script wrote is gone when its reply arrives
	RedisFlush        RedisMode = "flush"          // FLUSHALL every second
)

// RedisModes are all ways to lie or to fail.
var RedisModes = []RedisMode{
	RedisRefused, RedisBlackhole, RedisDropRequests, RedisDropReplies, RedisSlow, RedisReset,
	RedisGrantAll, RedisDenyAll, RedisExpireNow, RedisFlush,
}

const slowness = 5 * time.Second

// LyingRedis stands between a Redis server and its clients and is honest until
// it is told otherwise. It is safe for concurrent use, and goes with the test.
type LyingRedis struct {
	server  string // host:port
	address string
	control *redis.Client
	context context.Context // ends with the test
	mode    atomic.Pointer[RedisMode]
	told    atomic.Int64 // commands that came

	mu       sync.Mutex
	listener net.Listener // nil while connections are refused
	clients  map[net.Conn]struct{}
	flushing context.CancelFunc // of RedisFlush
	running  sync.WaitGroup
}

// StartLyingRedis stands in front of the server at host:port.
func StartLyingRedis(t testing.TB, server string) *LyingRedis {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	l := &LyingRedis{
		server: server, context: ctx, clients: map[net.Conn]struct{}{}, address: "127.0.0.1:0",
		control: redis.NewClient(&redis.Options{Addr: server, Protocol: 2}), flushing: func() {},
	}
	l.mode.Store(new(RedisHonest))
	if err := l.listen(); err != nil {
		t.Fatal(err)
	}
	l.address = l.listener.Addr().String()
	t.Cleanup(func() {
		cancel()
		l.refuse()
		l.running.Wait()
		_ = l.control.Close()
	})
	return l
}

// URL is where clients connect, in the form of the setting redis.
func (l *LyingRedis) URL() string { return "redis://" + l.address }

// Commands is how many commands came so far, whatever became of them.
func (l *LyingRedis) Commands() int64 { return l.told.Load() }

// SetMode changes how clients are treated from now on. Connections stay, except
// for RedisRefused.
func (l *LyingRedis) SetMode(t testing.TB, m RedisMode) {
	t.Helper()
	l.mode.Store(&m)
	l.mu.Lock()
	l.flushing()
	if m == RedisFlush {
		var ctx context.Context
		ctx, l.flushing = context.WithCancel(l.context)
		l.running.Go(func() { l.flush(ctx) })
	}
	l.mu.Unlock()
	if m == RedisRefused {
		l.refuse()
	} else if err := l.listen(); err != nil {
		t.Fatal(err)
	}
}

func (l *LyingRedis) flush(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for ctx.Err() == nil {
		_ = l.control.FlushAll(ctx).Err() // the server may be stopped at the time
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// listen takes connections, where none are taken.
func (l *LyingRedis) listen() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.listener != nil {
		return nil
	}
	listener, err := net.Listen("tcp", l.address)
	if err != nil {
		return err
	}
	l.listener = listener
	l.running.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return // it was closed
			}
			l.running.Go(func() { l.serve(client) })
		}
	})
	return nil
}

func (l *LyingRedis) refuse() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.listener != nil {
		_ = l.listener.Close()
	}
	l.listener = nil
	for c := range l.clients {
		reset(c)
	}
}

// reset ends a connection without a farewell.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

func (l *LyingRedis) serve(client net.Conn) {
	l.mu.Lock()
	taken := l.listener != nil
	l.clients[client] = struct{}{}
	l.mu.Unlock()
	defer func() {
		_ = client.Close()
		l.mu.Lock()
		delete(l.clients, client)
		l.mu.Unlock()
	}()
	var d net.Dialer
	server, err := d.DialContext(l.context, "tcp", l.server)
	if err != nil || !taken {
		reset(client)
		return
	}
	defer server.Close()
	c := &lyingConn{lying: l, client: client, server: server}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = c.replies()
		_ = client.Close()
	}()
	_ = c.commands()
	_ = server.Close()
	<-ended
}

// lyingConn is a client's connection, with one of its own to the server.
type lyingConn struct {
	lying          *LyingRedis
	client, server net.Conn

	mu         sync.Mutex
	asked      [][]string // commands whose reply has not come, the oldest first
	subscribed bool       // replies are for no command any more
}

// commands passes on what the client says.
func (c *lyingConn) commands() error {
	for r := redcon.NewReader(c.client); ; {
		command, err := r.ReadCommand()
		if err != nil {
			return err
		}
		c.lying.told.Add(1)
		if m := *c.lying.mode.Load(); m == RedisBlackhole || m == RedisDropRequests {
			continue
		}
		words := make([]string, len(command.Args))
		for i, arg := range command.Args {
			words[i] = string(arg)
		}
		words[0] = strings.ToUpper(words[0])
		c.mu.Lock()
		c.subscribed = c.subscribed || strings.HasSuffix(words[0], "SUBSCRIBE")
		c.asked = append(c.asked, words)
		c.mu.Unlock()
		if _, err := c.server.Write(command.Raw); err != nil {
			return err
		}
	}
}

// command is the one that the next reply is for; nil when it is for none.
func (c *lyingConn) command() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.subscribed || len(c.asked) == 0 {
		return nil
	}
	words := c.asked[0]
	c.asked = c.asked[1:]
	return words
}

// replies passes on what the server says, or something else.
func (c *lyingConn) replies() error {
	var came []byte
	for {
		frame, rest, err := nextReply(c.server, came)
		if err != nil {
			return err
		}
		came = rest
		words := c.command()
		switch *c.lying.mode.Load() {
		case RedisBlackhole, RedisDropReplies:
			continue
		case RedisSlow:
			if !c.wait() {
				return net.ErrClosed
			}
		case RedisReset:
			_, _ = c.client.Write(frame[:len(frame)/2])
			reset(c.client)
			return net.ErrClosed
		case RedisGrantAll:
			frame = granted(words, frame)
		case RedisDenyAll:
			frame = denied(words, frame)
		case RedisExpireNow:
			c.lying.expire(words)
		}
		if _, err := c.client.Write(frame); err != nil {
			return err
		}
	}
}

// nextReply returns the server's next reply, of which came has the beginning, and
// the bytes that came after it.
func nextReply(server io.Reader, came []byte) ([]byte, []byte, error) {
	piece := make([]byte, 4<<10)
	for {
		if n, _ := redcon.ReadNextRESP(came); n > 0 {
			return came[:n], slices.Clone(came[n:]), nil
		}
		n, err := server.Read(piece)
		if err != nil {
			return nil, nil, err
		}
		came = append(came, piece[:n]...)
	}
}

// wait says whether the test still runs after a slow reply's time.
func (c *lyingConn) wait() bool {
	late := time.NewTimer(slowness)
	defer late.Stop()
	select {
	case <-c.lying.context.Done():
		return false
	case <-late.C:
		return true
	}
}
