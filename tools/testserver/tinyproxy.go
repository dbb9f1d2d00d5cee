package testserver

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"testing"
)

// Tinyproxy is a forward proxy of one test's own, which connects by CONNECT to any
// port. It goes with the test.
type Tinyproxy struct {
	t    testing.TB
	port int
	user string // with its password; empty for none
	log  string
}

// StartTinyproxy starts a proxy that takes the user and password only; for an empty
// user it takes every client.
func StartTinyproxy(t testing.TB, user, password string) *Tinyproxy {
	t.Helper()
	path, err := exec.LookPath("tinyproxy")
	if err != nil {
		t.Fatal(errors.New("this test needs a forward proxy: run tools/install deb:tinyproxy"))
	}
	dir, err := account{}.directory("berth-tinyproxy")
	if err != nil {
		t.Fatal(err)
	}
	p := &Tinyproxy{t: t, log: filepath.Join(dir, "log")}
	if p.port, err = freePort(); err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf("Port %d\nListen 127.0.0.1\nTimeout 600\nMaxClients 200\nLogFile %q\nLogLevel Connect\n", p.port, p.log)
	if user != "" {
		p.user = user + ":" + password
		config += fmt.Sprintf("BasicAuth %s %s\n", user, password)
	}
	file := filepath.Join(dir, "tinyproxy.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	server, err := startAnswering(account{}.command(dir, syscall.SIGKILL, path, "-d", "-c", file), accepts(p.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(server.stop(syscall.SIGKILL), os.RemoveAll(dir)); err != nil {
			t.Error(err)
		}
	})
	return p
}

// Addr is where the proxy listens, host:port.
func (p *Tinyproxy) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port)) }

// URL is the URL of the proxy, with its user and password.
func (p *Tinyproxy) URL() string {
	if p.user == "" {
		return "http://" + p.Addr()
	}
	return "http://" + p.user + "@" + p.Addr()
}

var tinyproxyRequest = regexp.MustCompile(`Request \(file descriptor \d+\): CONNECT (\S+) HTTP`)

// Targets are the addresses that the proxy was asked to connect to, in order.
func (p *Tinyproxy) Targets() []string {
	p.t.Helper()
	text, err := os.ReadFile(p.log)
	if err != nil {
		p.t.Fatal(err)
	}
	var targets []string
	for _, m := range tinyproxyRequest.FindAllSubmatch(text, -1) {
		targets = append(targets, string(m[1]))
	}
	return targets
}
