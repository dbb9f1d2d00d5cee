package assemble_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"testing"

	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/services/assemble"
	"github.com/berth-registry/berth/tools/testserver"
)

// node is one process of a deployment, which runs in the test's own process on
// free ports.
type node struct {
	config boot.Config
	addrs  map[string]net.Addr // by setting

	cancel context.CancelFunc
	ended  chan error
}

// startNode starts one on free ports and returns when it serves. It is stopped
// at the end of the test.
func startNode(t *testing.T, c boot.Config) *node {
	t.Helper()
	return startAt(t, onFreePorts(c))
}

// startLasting is startNode on ports that no other process takes while the node is down.
func startLasting(t *testing.T, c boot.Config) *node {
	t.Helper()
	return startAt(t, onPorts(c, func() string { return testserver.FreeAddr(t) }))
}

// startAt starts one where its configuration says.
func startAt(t *testing.T, c boot.Config) *node {
	t.Helper()
	n, err := launch(t, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.stop(t) })
	return n
}

func onFreePorts(c boot.Config) boot.Config {
	return onPorts(c, func() string { return "127.0.0.1:0" })
}

// onPorts gives each listener an address of its own.
func onPorts(c boot.Config, address func() string) boot.Config {
	for _, addr := range []*string{&c.DataAddr, &c.AdminAddr, &c.AdminGRPCAddr, &c.OpsAddr} {
		*addr = address()
	}
	if c.InternalAt.IsZero() {
		c.InternalAddr = address()
	}
	return c
}

// reachable gives a node an internal listener where other nodes know it to be
// before it is open, and so can read what the node is fetching.
func reachable(t *testing.T, c boot.Config) boot.Config {
	t.Helper()
	c.InternalAddr = testserver.FreeAddr(t)
	c.InternalAt = internalURL(c, c.InternalAddr)
	return c
}

// internalURL is the URL of an internal listener of the deployment.
func internalURL(c boot.Config, addr string) boot.URL {
	if c.InternalTLSCerts != "" {
		return boot.NewURL("https://" + addr)
	}
	return boot.NewURL("http://" + addr)
}

// launch is startNode for any goroutine; the caller stops the node.
func launch(t *testing.T, c boot.Config) (*node, error) { return launchTelling(t.Output(), c) }

// launchTelling is launch with another place for the log.
func launchTelling(to io.Writer, c boot.Config) (*node, error) {
	return launchLogging(slog.New(slog.NewTextHandler(to, &slog.HandlerOptions{Level: slog.LevelWarn})), c)
}

// launchLogging is launch with another log.
func launchLogging(log *slog.Logger, c boot.Config) (*node, error) {
	ctx, cancel := context.WithCancel(context.Background())
	d, err := assemble.New(ctx, c, log)
	if err != nil {
		cancel()
		return nil, err
	}
	n := &node{config: c, cancel: cancel, ended: make(chan error, 1)}
	ready := make(chan map[string]net.Addr, 1)
	d.OnReady(func(addrs map[string]net.Addr) { ready <- addrs })
	go func() { n.ended <- d.Run(ctx) }()
	select {
	case n.addrs = <-ready:
		return n, nil
	case err := <-n.ended:
		cancel()
		return nil, fmt.Errorf("the node did not start: %w", err)
	}
}

// again starts a node that was stopped, where it was.
func (n *node) again(t *testing.T) *node {
	t.Helper()
	c := n.config
	for setting, addr := range map[string]*string{
		"data_addr": &c.DataAddr, "admin_addr": &c.AdminAddr, "admin_grpc_addr": &c.AdminGRPCAddr, "internal_addr": &c.InternalAddr, "ops_addr": &c.OpsAddr,
	} {
		if bound, ok := n.addrs[setting]; ok {
			*addr = bound.String()
		}
	}
	return startAt(t, c)
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
