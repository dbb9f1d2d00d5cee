package boot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/boot/web"
)

// running is a process under test.
type running struct {
	*Process
	addrs map[string]net.Addr
	stop  context.CancelFunc
	done  chan error
}

func newProcess(t *testing.T, shutdown time.Duration) *Process {
	t.Helper()
	p, err := New(t.Context(), Config{OpsAddr: "127.0.0.1:0", ShutdownTimeout: shutdown}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func start(t *testing.T, p *Process) running {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	r := running{p, nil, stop, make(chan error, 1)}
	bound := make(chan map[string]net.Addr, 1)
	p.OnReady(func(addrs map[string]net.Addr) { bound <- addrs })
	go func() { r.done <- p.Run(ctx) }()
	select {
	case r.addrs = <-bound:
	case err := <-r.done:
		t.Fatal(err)
	}
	return r
}

func (r running) get(setting, path string) (int, string, error) {
	resp, err := http.Get("http://" + r.addrs[setting].String() + path)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

func (p *Process) listenHTTP(setting string, h http.HandlerFunc) {
	p.Listen(Listener{Setting: setting, Addr: "127.0.0.1:0", Server: web.NewServer(h, p.Log)})
}

func TestStopDrainsThenClosesInReverse(t *testing.T) {
	p := newProcess(t, 30*time.Second)
	var order []string
	entered, release := make(chan struct{}), make(chan struct{})
	p.listenHTTP("data_addr", func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-release
		order = append(order, "request")
		fmt.Fprint(w, "whole")
	})
	p.OnStop("store", func(context.Context) error { order = append(order, "store"); return nil })
	p.OnStop("cache", func(context.Context) error { order = append(order, "cache"); return nil })
	p.Go("sweeper", func(ctx context.Context) error {
		<-ctx.Done()
		order = append(order, "sweeper")
		return ctx.Err()
	})
	r := start(t, p)

	answer := make(chan string, 1)
	go func() {
		_, body, err := r.get("data_addr", "/")
		answer <- fmt.Sprint(body, err)
	}()
	<-entered
	r.stop()
	// The request still runs: the process is draining, and says so.
	await.True(t, 30*time.Second, "it says that it is draining", func() bool {
		code, body, err := r.get("ops_addr", "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		return code == 503 && strings.Contains(body, "draining")
	})
	// Not at once, but soon, no new connection is accepted.
	await.True(t, 30*time.Second, "no connection is accepted", func() bool {
		c, err := net.Dial("tcp", r.addrs["data_addr"].String())
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	close(release)
	if got := <-answer; got != "whole<nil>" {
		t.Errorf("the running request got %q", got)
	}
	if err := <-r.done; err != nil {
		t.Error(err)
	}
	if want := []string{"request", "sweeper", "cache", "store"}; !slices.Equal(order, want) {
		t.Errorf("order %v, want %v", order, want)
	}
}

func TestShutdownTimeoutCutsWhatIsLeft(t *testing.T) {
	p := newProcess(t, 50*time.Millisecond)
	entered := make(chan struct{})
	p.listenHTTP("data_addr", func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
	})
	r := start(t, p)
	answer := make(chan error, 1)
	go func() {
		_, _, err := r.get("data_addr", "/")
		answer <- err
	}()
	<-entered
	r.stop()
	if err := <-r.done; err != nil {
		t.Error(err)
	}
	if err := <-answer; err == nil {
		t.Error("the request that was cut got an answer")
	}
}

func TestAddressInUseIsNamedAndNothingServes(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	p := newProcess(t, time.Second)
	closed := false
	p.OnStop("store", func(context.Context) error { closed = true; return nil })
	p.OnReady(func(map[string]net.Addr) { t.Error("the process says that it is ready") })
	p.Listen(Listener{Setting: "data_addr", Addr: taken.Addr().String(), Server: web.NewServer(http.NotFoundHandler(), p.Log)})
	err = p.Run(t.Context())
	want := "data_addr " + taken.Addr().String() + ": address already in use; another Berth may be running, or choose another address"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if !closed {
		t.Error("the store was left open")
	}
}

func TestFailedWorkStopsTheProcess(t *testing.T) {
	p := newProcess(t, time.Second)
	gone := errors.New("disk gone")
	p.Go("sweeper", func(context.Context) error { return gone })
	p.OnStop("store", func(context.Context) error { return errors.New("not flushed") })
	err := p.Run(t.Context())
	if !errors.Is(err, gone) || !strings.Contains(err.Error(), "sweeper: disk gone") || !strings.Contains(err.Error(), "close store: not flushed") {
		t.Errorf("got %v", err)
	}
}
