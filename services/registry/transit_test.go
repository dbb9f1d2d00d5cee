package registry_test

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/fronttest"
)

// stall asks as admin and takes the header of the answer, but not its body.
func (b *bench) stall(path string) (int, net.Conn) {
	b.t.Helper()
	conn, err := net.Dial("tcp", b.Server.Listener.Addr().String())
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = conn.Close() })
	if err := conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		b.t.Fatal(err)
	}
	login := base64.StdEncoding.EncodeToString([]byte("admin:" + fronttest.Secret("admin")))
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Basic %s\r\n\r\n", path, b.site.Host, login); err != nil {
		b.t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReaderSize(conn, 1<<10), nil) // its body is what stalls
	if err != nil {
		b.t.Fatal(err)
	}
	return resp.StatusCode, conn
}

// Clients that take large manifests slowly hold a bounded part of memory, and
// neither other tenants nor small manifests have to wait for them.
func TestA7_SlowReadersOfManifestsAreBounded(t *testing.T) {
	b := start(t, tenant.Settings{})
	small := b.image("app", "small")
	large := strings.Replace(small, "{", `{"annotations":{"a":"`+strings.Repeat("x", 4<<20-4<<10)+`"},`, 1)
	b.pushed("/v2/app/manifests/small", small)
	b.pushed("/v2/app/manifests/large", large)

	const most = 8 // of 4 MiB, for one tenant
	var stalled []net.Conn
	for i := range 20 {
		status, conn := b.stall("/v2/app/manifests/large")
		if want := map[bool]int{true: http.StatusOK, false: http.StatusTooManyRequests}[i < most]; status != want {
			t.Fatalf("slow client %d: %d, want %d", i+1, status, want)
		}
		stalled = append(stalled, conn)
	}
	refused := b.do("GET", "/v2/app/manifests/large")
	if refused.Status != http.StatusTooManyRequests || refused.Header.Get("Retry-After") == "" || refused.Code() != "TOOMANYREQUESTS" ||
		refused.Header.Get("Docker-Content-Digest") != "" {
		t.Errorf("one more: %d %v %s", refused.Status, refused.Header, refused.Body)
	}
	if a := b.put("/v2/app/manifests/large", "", large); a.Status != http.StatusTooManyRequests {
		t.Errorf("a push of a large one: %d %s", a.Status, a.Body)
	}
	if a := b.do("GET", "/v2/app/manifests/small"); a.Status != http.StatusOK || a.Body != small {
		t.Errorf("a small one: %d %.200s", a.Status, a.Body)
	}
	other := &bench{Deployment: b.Deployment, t: t, site: b.Tenant("other", tenant.Settings{})}
	other.Account(other.site, "admin", access.Admin)
	other.image("app", "small")
	other.pushed("/v2/app/manifests/large", large)
	if a := other.do("GET", "/v2/app/manifests/large"); a.Status != http.StatusOK || a.Body != large {
		t.Errorf("another tenant: %d %.200s", a.Status, a.Body)
	}

	for _, conn := range stalled {
		_ = conn.Close()
	}
	await.True(t, 10*time.Second, "the memory of clients that left is given back", func() bool {
		return b.do("GET", "/v2/app/manifests/large").Status == http.StatusOK
	})
}
