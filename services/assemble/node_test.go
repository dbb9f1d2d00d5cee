package assemble_test

import (
	"context"
	"log/slog"
	"net"
	"testing"

	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/services/assemble"
)

// node is one process of a deployment, which runs in the test's own process on
// free ports.
type node struct {
	config boot.Config
	addrs  map[string]net.Addr // by setting

	cancel context.CancelFunc
	ended  chan error
}

// startNode starts one and returns when it serves. It is stopped at the end of
// the test.
func startNode(t *testing.T, c boot.Config) *node {
	t.Helper()
	for _, addr := range []*string{&c.DataAddr, &c.AdminAddr, &c.AdminGRPCAddr, &c.InternalAddr, &c.OpsAddr} {
		*addr = "127.0.0.1:0"
	}
	ctx, cancel := context.WithCancel(context.Background())
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	d, err := assemble.New(ctx, c, log)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	n := &node{config: c, cancel: cancel, ended: make(chan error, 1)}
	ready := make(chan map[string]net.Addr, 1)
	d.OnReady(func(addrs map[string]net.Addr) { ready <- addrs })
	go func() { n.ended <- d.Run(ctx) }()
	select {
	case n.addrs = <-ready:
	case err := <-n.ended:
		cancel()
		t.Fatalf("the node did not start: %v", err)
	}
	t.Cleanup(func() { n.stop(t) })
	return n
}

// at is the address of the listener.
func (n *node) at(setting string) string { return n.addrs[setting].String() }

// stop ends the node in order, once however often it is called.
func (n *node) stop(t *testing.T) {
	t.Helper()
	if n.cancel == nil {
		return
	}
	n.cancel()
	n.cancel = nil
	if err := <-n.ended; err != nil {
		t.Errorf("the node did not stop in order: %v", err)
	}
}
