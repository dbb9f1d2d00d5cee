package token_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/boot/web"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/fronttest"
)

// A form that stops ends with 408, and so does its connection.
func TestQ5_FormEnds(t *testing.T) {
	t.Parallel()
	d := fronttest.New(t)
	d.Pace = web.Pace{Grace: 200 * time.Millisecond}
	d.Serve(front.Services{Token: handler(d)})
	site := d.Tenant("acme", tenant.Settings{})
	conn, err := net.Dial("tcp", d.Server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprintf(conn, "POST /token HTTP/1.1\r\nHost: %s\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\ngrant", site.Host)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || resp.StatusCode != http.StatusRequestTimeout || !resp.Close {
		t.Fatalf("%v, %v", resp, err)
	}
	if _, err := io.Copy(io.Discard, conn); err != nil {
		t.Errorf("the connection stays: %v", err)
	}
}
