package assemble_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/tools/testserver"
)

// impatientNginx is an edge that waits a second for everything, and ends a
// connection of a client after a few requests.
const impatientNginx = `
daemon off;
master_process off;
pid %[1]s/pid;
error_log %[1]s/error.log;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	upstream berth { %[3]s keepalive 4; }
	server {
		listen %[2]s;
		client_max_body_size 0;
		keepalive_requests 5;
		location / {
			proxy_pass http://berth;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_set_header Host $http_host;
			proxy_request_buffering off;
			proxy_connect_timeout 1s;
			proxy_send_timeout 1s;
			proxy_read_timeout 1s;
		}
	}
}
`

// startNginx starts Debian's nginx before the nodes, impatient; listen is its
// address, and what else its directive of that name takes.
func startNginx(t *testing.T, listen string, nodes ...*node) {
	t.Helper()
	startNginxAs(t, impatientNginx, listen, nodes...)
}

// startNginxAs starts it with a configuration like impatientNginx.
func startNginxAs(t *testing.T, config, listen string, nodes ...*node) {
	t.Helper()
	program, err := exec.LookPath("nginx")
	if err != nil {
		program = "/usr/sbin/nginx" // not on everybody's PATH
	}
	if _, err := os.Stat(program); err != nil {
		t.Fatal("this test needs nginx: run tools/install deb:nginx")
	}
	var upstreams strings.Builder
	for _, n := range nodes {
		fmt.Fprintf(&upstreams, "server %s max_fails=0;", n.at("data_addr"))
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, config, dir, listen, upstreams.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if text, err := os.ReadFile(filepath.Join(dir, "error.log")); err == nil && t.Failed() {
			t.Log(clip(string(text)))
		}
	})
	testserver.Run(t, exec.Command(program, "-p", dir, "-c", file, "-e", filepath.Join(dir, "error.log")))
	address, _, _ := strings.Cut(listen, " ")
	await.True(t, 10*time.Second, "nginx", func() bool {
		conn, err := new(net.Dialer).DialContext(context.Background(), "tcp", address)
		return err == nil && conn.Close() == nil
	})
}

// TestR52_ImpatientProxy has clients push and pull through a proxy that waits a
// second for everything and hangs up often, by HTTP/1.1 and by HTTP/2, while the
// database now and then takes longer than that. What they are told is to try
// again, and that succeeds.
func TestR52_ImpatientProxy(t *testing.T) {
	const clients, images = 4, 12
	db := testserver.StartPostgres(t)
	w := startOneWith(t, serversWith(t, db, ""), uploadsSeed)
	for name, http2 := range map[string]bool{"HTTP1": false, "HTTP2": true} {
		t.Run(name, func(t *testing.T) {
			address := testserver.FreeAddr(t)
			listen := address
			if http2 {
				listen += " http2"
			}
			startNginx(t, listen, w.nodes[0])
			edge := newWorld(t, address, w.nodes...)
			transport := edge.client.Transport.(*http.Transport)
			transport.Protocols = new(http.Protocols)
			transport.Protocols.SetHTTP1(!http2)
			transport.Protocols.SetUnencryptedHTTP2(http2)

			l := &load{t: t, w: edge, name: strings.ToLower(name)}
			working := l.run(clients, images, nil)
			for _, after := range []int64{clients, 2 * clients} {
				await.True(t, 30*time.Second, "work to continue", func() bool { return l.pushed.Load() >= after })
				db.Pause()
				<-time.After(1500 * time.Millisecond) // longer than the proxy waits
				db.Resume()
			}
			working.Wait()
			t.Logf("%d images, %d failed requests", l.pushed.Load(), l.failed.Load())
			if l.failed.Load() == 0 {
				t.Error("the proxy was never impatient")
			}
			l.wantAll(clients)
		})
	}
	w.stop(t)
	w.wantSound(t)
}
