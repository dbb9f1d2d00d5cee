package fetch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/lease"
	"github.com/berth-registry/berth/services/proxy/fetch"
)

// cluster are processes on one store that reach each other.
type cluster struct {
	world
	nodes map[string]*fetch.Fetches
	cut   map[string]chan struct{} // closed when the node is dead: connections to it break
}

// newCluster starts n nodes. leases are everybody's; nil: each has its own.
func newCluster(t testing.TB, n int, leases lease.Leases) *cluster {
	t.Helper()
	c := &cluster{world: newWorld(t), nodes: map[string]*fetch.Fetches{}, cut: map[string]chan struct{}{}}
	for i := range n {
		at := fmt.Sprintf("http://node%d", i)
		c.cut[at] = make(chan struct{})
		c.nodes[at] = c.node(func(cfg *fetch.Config) {
			cfg.Self, cfg.Peer = at, c.peer
			if leases != nil {
				cfg.Leases = leases
			}
		})
	}
	return c
}

// peer is the connection between nodes.
func (c *cluster) peer(ctx context.Context, at string, t fetch.Target, from int64) (fetch.Part, error) {
	f := c.nodes[at]
	if f == nil || isClosed(c.cut[at]) {
		return fetch.Part{}, errors.New("connection refused")
	}
	content, ok := f.Join(ctx, t)
	if !ok {
		return fetch.Part{}, errors.New("404")
	}
	if _, err := content.Seek(from, io.SeekStart); err != nil {
		return fetch.Part{}, errors.Join(err, content.Close())
	}
	return fetch.Part{Body: connection{content, c.cut[at]}, From: from, Size: content.Size()}, nil
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

type connection struct {
	blob.Content
	cut chan struct{}
}

func (c connection) Read(p []byte) (int, error) {
	n, err := c.Content.Read(p)
	if isClosed(c.cut) {
		return 0, errors.New("connection reset")
	}
	return n, err
}

// kill ends a node in the middle of everything.
func (c *cluster) kill(at string) {
	c.t.Helper()
	close(c.cut[at])
	ctx, cancel := context.WithCancel(c.t.Context())
	cancel()
	_ = c.nodes[at].Close(ctx) // it is killed
}

func (c *cluster) settle() {
	c.t.Helper()
	for _, f := range c.nodes {
		c.world.settle(f)
	}
}

func TestE14_ThreeNodesOneFetch(t *testing.T) {
	c := newCluster(t, 3, lease.NewMemory())
	content := bytesOf(6*held + 1)
	s := newFed(int64(len(content)))
	var all sync.WaitGroup
	for range 333 {
		for _, f := range c.nodes {
			all.Go(func() { mustRead(t, f, c.target(content), s.source, content) })
		}
	}
	for at := 0; at < len(content); at += held {
		s.give(t, content[at:min(at+held, len(content))])
	}
	s.feed.Close()
	all.Wait()
	c.settle()
	if n := s.calls(); n != 1 {
		t.Errorf("the upstream was asked %d times", n)
	}
	c.mustHold(content)
}

// Where the size is known to no one, those on other nodes wait with the rest.
func TestE14_ThreeNodesUnknownSize(t *testing.T) {
	c := newCluster(t, 3, lease.NewMemory())
	content := bytesOf(2 * held)
	target := c.target(content)
	target.Size = -1
	s := newFed(-1)
	var all sync.WaitGroup
	for _, f := range c.nodes {
		all.Go(func() { mustRead(t, f, target, s.source, content) })
	}
	s.give(t, content)
	s.feed.Close()
	all.Wait()
	c.settle()
	if n := s.calls(); n != 1 {
		t.Errorf("the upstream was asked %d times", n)
	}
	c.mustHold(content)
}

// stuck are leases whose holder may be gone: they are released only when the
// test says so, as those of a node that was killed end only by their time.
type stuck struct {
	lease.Leases
	expired chan struct{}
}

func (s stuck) Acquire(ctx context.Context, k lease.Key, note string) (lease.Lease, string, bool) {
	l, at, ok := s.Leases.Acquire(ctx, k, note)
	if ok {
		l = stuckLease{l, s.expired}
	}
	return l, at, ok
}

type stuckLease struct {
	lease.Lease
	expired chan struct{}
}

func (l stuckLease) Release() {
	if isClosed(l.expired) {
		l.Lease.Release()
		return
	}
	go func() {
		<-l.expired
		l.Lease.Release()
	}()
}

// TestR43_LeaderIsKilled: the readers of the other nodes get every byte, for at
// most one more fetch; also where the lease of the dead stays.
func TestR43_LeaderIsKilled(t *testing.T) {
	t.Parallel()
	content := bytesOf(6*held + 5)
	for _, stays := range []bool{false, true} {
		for _, at := range []int{0, held, len(content) - 1} {
			t.Run(fmt.Sprintf("at %d, its lease stays %v", at, stays), func(t *testing.T) {
				t.Parallel()
				expired := make(chan struct{})
				defer func() {
					if stays {
						close(expired)
					}
				}()
				if !stays {
					close(expired)
				}
				c := newCluster(t, 3, stuck{lease.NewMemory(), expired})
				r, feed := io.Pipe()
				s := &source{say: func(ctx context.Context, call int) (io.Reader, int64, error) {
					if call > 1 {
						return bytes.NewReader(content), int64(len(content)), nil
					}
					context.AfterFunc(ctx, func() { r.CloseWithError(context.Cause(ctx)) })
					return r, int64(len(content)), nil
				}}
				const leader = "http://node0"
				var living, dead sync.WaitGroup
				dead.Go(func() {
					if _, err := read(t.Context(), c.nodes[leader], c.target(content), s); err == nil {
						t.Error("a reader of the dead node got all")
					}
				})
				await.True(t, 20*time.Second, "the upstream is asked", func() bool { return s.calls() == 1 })
				for _, name := range []string{"http://node1", "http://node2"} {
					for range 20 {
						living.Go(func() { mustRead(t, c.nodes[name], c.target(content), s, content) })
					}
				}
				if at > 0 {
					if _, err := feed.Write(content[:at]); err != nil {
						t.Fatal(err)
					}
				}
				c.kill(leader)
				dead.Wait()
				living.Wait()
				c.settle()
				if n := s.calls(); n > 2 {
					t.Errorf("the upstream was asked %d times", n)
				}
				c.mustHold(content)
			})
		}
	}
}

// TestT23_AnotherNodeContinues: when the node that fetches dies, another asks only for what
// it lacks, and the third reads from there.
func TestT23_AnotherNodeContinues(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, lease.NewMemory())
	content := bytesOf(8*held + 5)
	const at = 5 * held
	var asked []int64
	first, feed := io.Pipe()
	src := func(ctx context.Context, from int64) (fetch.Part, error) {
		asked = append(asked, from)
		body := io.NopCloser(bytes.NewReader(content[from:]))
		if len(asked) == 1 {
			context.AfterFunc(ctx, func() { first.CloseWithError(context.Cause(ctx)) })
			body = first
		}
		return fetch.Part{Body: body, From: from, Size: int64(len(content))}, nil
	}
	open := func(node string) blob.Content {
		o, err := c.nodes[node].Open(t.Context(), c.target(content), src)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { o.Close() })
		return o
	}
	go func() { _, _ = feed.Write(content[:at]) }() // until the node is dead
	doomed := open("http://node0")
	living := []blob.Content{open("http://node1"), open("http://node2")}
	for _, r := range living {
		if _, err := io.ReadFull(r, make([]byte, at)); err != nil {
			t.Fatal(err)
		}
	}
	c.kill("http://node0")
	if _, err := io.ReadAll(doomed); err == nil {
		t.Error("a reader of the dead node got all")
	}
	for _, r := range living {
		if rest, err := io.ReadAll(r); err != nil || !bytes.Equal(rest, content[at:]) {
			t.Errorf("then %d bytes, %v", len(rest), err)
		}
	}
	c.settle()
	if want := []int64{0, at}; !slices.Equal(asked, want) {
		t.Errorf("the upstream was asked from %v, want %v", asked, want)
	}
	c.mustHold(content)
}

// TestR43_LeaderFallsSilent: a node that lost its power closes no connection.
func TestR43_LeaderFallsSilent(t *testing.T) {
	w := newWorld(t)
	content := bytesOf(3 * held)
	leases := lease.NewMemory()
	s := gives(content)
	silent, asked := make(chan struct{}), make(chan struct{}, 1)
	f := w.node(func(c *fetch.Config) {
		c.Self, c.Leases = "http://node1", leases
		c.Peer = func(ctx context.Context, _ string, _ fetch.Target, _ int64) (fetch.Part, error) {
			r, feed := io.Pipe()
			context.AfterFunc(ctx, func() { feed.CloseWithError(context.Cause(ctx)) })
			go func() {
				_, _ = feed.Write(content[:2*held])
				close(silent)
			}()
			asked <- struct{}{}
			return fetch.Part{Body: r, Size: int64(len(content))}, nil
		}
	})
	dead := lease.Key{Kind: "fetch", Tenant: w.repo.Tenant, Name: fmt.Sprintf("0 %d %s@%s", w.repo.Registry, w.repo.Name, w.target(content).Digest)}
	l, _, ok := leases.Acquire(t.Context(), dead, "http://node0")
	if !ok {
		t.Fatal("the lease is taken")
	}
	got := make(chan struct{})
	go func() {
		defer close(got)
		mustRead(t, f, w.target(content), s, content)
	}()
	<-asked
	<-silent
	l.Release() // its time is over
	<-got
	w.settle(f)
	if n := s.calls(); n != 1 {
		t.Errorf("the upstream was asked %d times", n)
	}
	w.mustHold(content)
}

// granting and denying are leases as bad as they may be.
type (
	granting struct{}
	denying  struct{ note string }
)

func (granting) Acquire(context.Context, lease.Key, string) (lease.Lease, string, bool) {
	return lost{}, "", true
}

func (d denying) Acquire(context.Context, lease.Key, string) (lease.Lease, string, bool) {
	return nil, d.note, false
}

// lost is lost from the beginning.
type lost struct{}

func (lost) Release() {}

func (lost) Lost() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// TestR16_LeasesThatLie: each node fetches once for itself then, and all is right.
func TestR16_LeasesThatLie(t *testing.T) {
	t.Parallel()
	for name, leases := range map[string]lease.Leases{
		"granted to all":       granting{},
		"each has its own":     nil,
		"denied for ever":      denying{},
		"denied, no one there": denying{"http://nobody"},
		"denied, by a node":    denying{"http://node0"},
		"denied, by itself":    denying{"http://node1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, 3, leases)
			content := bytesOf(4*held + 1)
			s := gives(content)
			var all sync.WaitGroup
			for _, f := range c.nodes {
				for range 20 {
					all.Go(func() { mustRead(t, f, c.target(content), s, content) })
				}
			}
			all.Wait()
			c.settle()
			if n := s.calls(); n > len(c.nodes) {
				t.Errorf("the upstream was asked %d times", n)
			}
			c.mustHold(content)
		})
	}
}

// A flight that reads from another node is not read from.
func TestJoin_OnlyOfTheLeader(t *testing.T) {
	leases := lease.NewMemory()
	c := newCluster(t, 2, leases)
	content := bytesOf(3 * held)
	s := newFed(int64(len(content)))
	leader, follower := c.nodes["http://node0"], c.nodes["http://node1"]
	var all sync.WaitGroup
	all.Go(func() { mustRead(t, leader, c.target(content), s.source, content) })
	await.True(t, 20*time.Second, "the upstream is asked", func() bool { return s.calls() == 1 })
	s.give(t, content[:held])
	o, err := follower.Open(t.Context(), c.target(content), s.Open)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if joined, ok := follower.Join(t.Context(), c.target(content)); ok {
		joined.Close()
		t.Error("a follower can be read from")
	}
	if joined, ok := leader.Join(t.Context(), c.target([]byte("another"))); ok {
		joined.Close()
		t.Error("a blob that no one fetches can be read")
	}
	joined, ok := leader.Join(t.Context(), c.target(content))
	if !ok {
		t.Fatal("the leader cannot be read from")
	}
	defer joined.Close()
	s.give(t, content[held:])
	s.feed.Close()
	for _, r := range []io.Reader{o, joined} {
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, content) {
			t.Errorf("read %d bytes, %v", len(got), err)
		}
	}
	all.Wait()
	c.settle()
	c.mustHold(content)
}

// TestR37_OutageIsNotWaitedForInTurns: what one node waited for in vain, the
// others try at once, and not one after the other.
func TestR37_OutageIsNotWaitedForInTurns(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, lease.NewMemory())
	content := bytesOf(100)
	slow := make(chan struct{})
	s := &source{}
	both := make(chan struct{})
	s.say = func(_ context.Context, call int) (io.Reader, int64, error) {
		switch call {
		case 1:
			<-slow
		case 2:
			select {
			case <-both:
			case <-time.After(10 * time.Second):
				t.Error("the third node waits for the second")
			}
		case 3:
			close(both)
		}
		return nil, 0, errDown
	}
	time.AfterFunc(1500*time.Millisecond, func() { close(slow) }) // longer than anyone need be reachable
	var all sync.WaitGroup
	for _, f := range c.nodes {
		all.Go(func() {
			if _, err := f.Open(t.Context(), c.target(content), s.Open); !errors.Is(err, errDown) {
				t.Errorf("Open: %v", err)
			}
		})
	}
	all.Wait()
	c.settle()
	if n := s.calls(); n != 3 {
		t.Errorf("the upstream was asked %d times", n)
	}
	c.mustLack(content)
}
