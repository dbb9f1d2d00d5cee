package upload_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/blob"
	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/services/internal/fronttest"
)

// session is what is known of the session at a path.
func (c client) session(path string) meta.Upload {
	c.t.Helper()
	id, err := uuid.Parse(path[strings.LastIndex(path, "/")+1:])
	if err != nil {
		c.t.Fatal(err)
	}
	u, err := c.Meta.FindUpload(c.t.Context(), c.repo(), id)
	if err != nil {
		c.t.Fatal(err)
	}
	return u
}

// abort announces a body, sends a part of it and cuts the connection.
func (c client) abort(method, path string, announced int, part []byte) {
	c.t.Helper()
	conn, err := net.Dial("tcp", c.Server.Listener.Addr().String())
	if err != nil {
		c.t.Fatal(err)
	}
	_, err = fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s",
		method, path, c.site.Host, c.auth, announced, part)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		c.t.Fatal(err)
	}
}

// openObjects is how many files of the blob store this process has open.
func (c client) openObjects() int {
	c.t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		c.t.Fatal(err)
	}
	n := 0
	for _, fd := range fds {
		// One that is gone by now was that of ReadDir.
		target, err := os.Readlink(filepath.Join("/proc/self/fd", fd.Name()))
		if err == nil && strings.HasPrefix(target, filepath.Join(c.Dir, "o")) {
			n++
		}
	}
	return n
}

// A client that leaves loses nothing that has arrived, and holds nothing open.
func TestR45_ClientLeaves(t *testing.T) {
	random := rand.New(rand.NewPCG(dice.Seed(t), 45))
	for range dice.Count(t, 1, 500) { // of 20 aborts each
		t.Run("round", func(t *testing.T) { leaveOften(t, random) })
	}
}

func leaveOften(t *testing.T, random *rand.Rand) {
	t.Helper()
	c := serve(t, nil)
	want := ocitest.Noise(2<<20, random.Uint64())
	path := c.start("")
	at := 0
	for range 20 {
		n := 1 + random.IntN(len(want)/25)
		method, query := http.MethodPatch, ""
		if random.IntN(3) == 0 {
			method, query = http.MethodPut, "?digest="+sha256Of(want).String()
		}
		c.abort(method, path+query, len(want)-at, want[at:at+n])
		at += n
		await.True(t, 20*time.Second, "what arrived is stored", func() bool { return c.session(path).Stage.Offset == int64(at) })
	}
	c.mustOffset(path, at)
	c.mustStored(c.put(path, sha256Of(want), want[at:]), sha256Of(want))
	c.mustHold(want)
	await.True(t, 20*time.Second, "no file is open", func() bool { return c.openObjects() == 0 })
}

// A client that leaves a single POST leaves nothing but what is condemned.
func TestR45_ClientLeavesPost(t *testing.T) {
	c := serve(t, nil)
	c.abort(http.MethodPost, c.uploads("?digest="+sha256Of(nil).String()), 100_000, ocitest.Noise(50_000, 1))
	await.True(t, 20*time.Second, "the object is condemned", func() bool {
		rows, err := c.Meta.ListObjects(t.Context(), blob.Key{}, 10)
		return err == nil && len(rows) == 1 && rows[0].State == 'D'
	})
}

// A client that hangs does not keep its own next try out: the hanging request
// is ended at once, with 416 and where the session stands.
func TestR47_NextTryEndsHangingRequest(t *testing.T) {
	c := serve(t, nil)
	path := c.start("")
	expect(t, c.patch(path, 0, []byte("first ")), http.StatusAccepted, "")

	body, feed := io.Pipe()
	hanging := make(chan fronttest.Answer, 1)
	go func() {
		a, err := c.stream(http.MethodPatch, path, body)
		if err != nil {
			t.Errorf("hanging request: %v", err)
		}
		hanging <- a
	}()
	if _, err := feed.Write([]byte("bytes that never count")); err != nil {
		t.Fatal(err)
	}
	await.True(t, 20*time.Second, "the request has the session", func() bool { return c.session(path).Epoch == 2 && c.openObjects() == 1 })

	expect(t, c.patch(path, 6, []byte("second")), http.StatusAccepted, "")
	a := <-hanging
	expect(t, a, http.StatusRequestedRangeNotSatisfiable, "BLOB_UPLOAD_INVALID")
	if err := feed.Close(); err != nil {
		t.Fatal(err)
	}
	c.mustStored(c.put(path, sha256Of([]byte("first second")), nil), sha256Of([]byte("first second")))
}

// Two clients that push into one session as each sees it: one wins each
// offset, the other is told the true one, and the blob is right.
func TestR47_TwoClientsOneSession(t *testing.T) {
	for range dice.Count(t, 1, 167) { // of 60 chunks each
		t.Run("round", race)
	}
}

func race(t *testing.T) {
	t.Helper()
	c := serve(t, nil)
	const chunk = 997
	want := ocitest.Noise(60*chunk, 47)
	path := c.start("")
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				at := int(c.session(path).Stage.Offset)
				if at == len(want) {
					return
				}
				a := c.patch(path, at, want[at:min(at+chunk, len(want))])
				if a.Status != http.StatusAccepted && a.Status != http.StatusRequestedRangeNotSatisfiable {
					t.Errorf("chunk at %d: %d %s", at, a.Status, a.Body)
					return
				}
			}
		})
	}
	wg.Wait()
	c.mustStored(c.put(path, sha256Of(want), nil), sha256Of(want))
	c.mustHold(want)
}

func TestR48_ChunkAgain(t *testing.T) {
	c := serve(t, nil)
	want := ocitest.Noise(50_000, 48)
	path := c.start("")
	for at := 0; at < len(want); at += 10_000 {
		chunk := want[at : at+10_000]
		expect(t, c.patch(path, at, chunk), http.StatusAccepted, "")
		again := c.patch(path, at, chunk)
		expect(t, again, http.StatusRequestedRangeNotSatisfiable, "BLOB_UPLOAD_INVALID")
		if got, want := again.Header.Get("Range"), fmt.Sprintf("0-%d", at+9_999); got != want {
			t.Errorf("Range %q, want %q", got, want)
		}
	}
	c.mustStored(c.put(path, sha256Of(want), nil), sha256Of(want))
}

// One blob from many clients at once: all get 201, one object is live, the
// tenant is charged once.
func TestR46_SameBlobFromManyClients(t *testing.T) {
	clients := dice.Count(t, 16, 64)
	for range dice.Count(t, 1, 1000) {
		t.Run("round", func(t *testing.T) { pushTogether(t, clients) })
	}
}

func pushTogether(t *testing.T, clients int) {
	t.Helper()
	c := serve(t, nil)
	want := ocitest.Noise(300_000, 46)
	d := sha256Of(want)
	var wg sync.WaitGroup
	for n := range clients {
		wg.Go(func() {
			var a fronttest.Answer
			var err error
			if n%2 == 0 {
				a, err = c.stream(http.MethodPost, c.uploads("?digest="+d.String()), bytes.NewReader(want))
			} else {
				a, err = c.stream(http.MethodPut, c.start("")+"?digest="+d.String(), bytes.NewReader(want))
			}
			if err != nil || a.Status != http.StatusCreated {
				t.Errorf("%d %s, %v", a.Status, a.Body, err)
			}
		})
	}
	wg.Wait()
	live := c.mustHold(want)
	rows, err := c.Meta.ListObjects(t.Context(), blob.Key{}, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if wanted := byte('D'); row.Key != live.Key && row.State != wanted {
			t.Errorf("%s is %c, want %c", row.Key, row.State, wanted)
		}
	}
	found, err := c.Meta.FindTenant(t.Context(), c.site.TenantSlug)
	if err != nil || found.Used != int64(len(want)) || len(rows) != clients {
		t.Errorf("%d bytes used, %v, %d objects; want %d and %d", found.Used, err, len(rows), len(want), clients)
	}
}
