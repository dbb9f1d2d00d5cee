package testserver

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"
)

// RedisServer is a Redis server of one test's own, which the test may stop,
// pause and flush. It keeps nothing on disk. Its methods fail the test where
// they fail; they are for the test's own goroutine, one at a time. The server
// goes with the test.
type RedisServer struct {
	t      testing.TB
	path   string
	dir    string
	port   int
	server *process // nil while it is stopped
}

// StartRedis starts an empty server.
func StartRedis(t testing.TB) *RedisServer {
	t.Helper()
	s, err := newRedis()
	if err != nil {
		t.Fatal(err)
	}
	s.t = t
	t.Cleanup(func() {
		s.Kill()
		s.must(os.RemoveAll(s.dir))
	})
	s.Start()
	return s
}

// newRedis has a directory and a port; nothing runs yet.
func newRedis() (*RedisServer, error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, errors.New("this needs Redis: run tools/install deb:redis-server")
	}
	s := &RedisServer{path: path}
	if s.dir, err = (account{}).directory("berth-redis"); err != nil {
		return nil, err
	}
	s.port, err = freePort()
	return s, err
}

func (s *RedisServer) run() (*process, error) {
	cmd := account{}.command(s.dir, syscall.SIGKILL, s.path, "--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
	return start(cmd, "Ready to accept connections")
}

func (s *RedisServer) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// Addr is where the server listens, host:port, also after a restart.
func (s *RedisServer) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// URL names the server, in the form of the setting redis.
func (s *RedisServer) URL() string { return "redis://" + s.Addr() }

// Start starts the server where it is stopped; it has forgotten everything.
func (s *RedisServer) Start() {
	s.t.Helper()
	var err error
	s.server, err = s.run()
	s.must(err)
}

// Kill ends the server at once; connections to it are refused from then on. A
// server that is not running stays as it is.
func (s *RedisServer) Kill() {
	s.t.Helper()
	if s.server == nil {
		return
	}
	s.must(s.server.stop(syscall.SIGKILL))
	s.server = nil
}

// Restart is Kill and Start.
func (s *RedisServer) Restart() {
	s.t.Helper()
	s.Kill()
	s.Start()
}

// Pause stops the server's process: connections are taken by the kernel, and
// nothing answers.
func (s *RedisServer) Pause() {
	s.t.Helper()
	s.must(s.server.Signal(syscall.SIGSTOP))
}

// Resume lets a paused server continue.
func (s *RedisServer) Resume() {
	s.t.Helper()
	s.must(s.server.Signal(syscall.SIGCONT))
}

// Flush removes all keys.
func (s *RedisServer) Flush() {
	s.t.Helper()
	s.Do("FLUSHALL")
}

// Do runs a command and returns its reply as go-redis gives it; nil for none.
func (s *RedisServer) Do(command ...any) any {
	s.t.Helper()
	c := redis.NewClient(&redis.Options{Addr: s.Addr(), Protocol: 2})
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	reply, err := c.Do(ctx, command...).Result()
	if errors.Is(err, redis.Nil) {
		return nil
	}
	s.must(err)
	return reply
}
