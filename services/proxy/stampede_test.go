package proxy_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/tools/testserver"
)

// together runs f n times at once.
func together(n int, f func(i int)) {
	begin := make(chan struct{})
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			<-begin
			f(i)
		})
	}
	close(begin)
	all.Wait()
}

// pullAll has the image pulled by many at once.
func (w *world) pullAll(n int, requests []request) {
	w.t.Helper()
	together(n, func(int) {
		for _, r := range requests {
			a, err := w.Send(fronttest.Request{Host: w.dev.Host, Path: r.path})
			if err != nil || a.Status != http.StatusOK || a.Body != string(r.want.Bytes) {
				w.t.Errorf("GET %s: %d, %d bytes, %v", r.path, a.Status, len(a.Body), err)
				return
			}
		}
	})
}

func TestE14_AStampedeAsksOnce(t *testing.T) {
	w, up := newHub(t)
	requests := requestsOf(testserver.ScriptedName, testserver.ScriptedTag, up.Image)
	n := dice.Count(t, 200, 1000)
	up.SetLatency(20 * time.Millisecond)
	w.pullAll(n, requests)
	for _, r := range requests {
		if got := up.Count(http.MethodGet, r.path); got != 1 {
			t.Errorf("GET %s was asked of the upstream %d times by %d pulls, want once", r.path, got, n)
		}
	}
	if got := up.Count("", "*"); got != len(requests) {
		t.Errorf("%d requests in all, want %d: %+v", got, len(requests), up.Requests())
	}
}

func TestR44_AnExpiredTagIsAskedForOnce(t *testing.T) {
	w, up := newHub(t)
	w.wantPull("", testserver.ScriptedName, testserver.ScriptedTag, up.Image)
	up.SetLatency(20 * time.Millisecond)
	for range 3 {
		w.pass(tagTTL)
		up.Forget()
		w.pullAll(dice.Count(t, 200, 1000), requestsOf(testserver.ScriptedName, testserver.ScriptedTag, up.Image))
		if got, all := up.Count(http.MethodHead, "*"), up.Count("", "*"); got != 1 || all != 1 {
			t.Errorf("%d HEAD of %d requests, want 1 and nothing else", got, all)
		}
	}
}

// TestE14_MadeUpTagsKeepTheUpstreamsPace asks for tags that there are not: the
// same one many times, then many.
func TestE14_MadeUpTagsKeepTheUpstreamsPace(t *testing.T) {
	w, up := newHub(t)
	path := "/v2/" + testserver.ScriptedName + "/manifests/"
	together(50, func(int) {
		if a, err := w.Send(fronttest.Request{Host: w.dev.Host, Path: path + "none"}); err != nil || a.Status != http.StatusNotFound {
			t.Errorf("%d, %v", a.Status, err)
		}
	})
	if n := up.Count("", "*"); n != 1 {
		t.Errorf("%d requests for a tag that is not there, want 1", n)
	}
	w.pass(31 * time.Second) // past negative_ttl
	up.Push(testserver.ScriptedName, up.Image, "none")
	if a := w.get(path + "none"); a.Status != http.StatusOK {
		t.Errorf("a tag that came later: %d", a.Status)
	}

	const (
		burst   = 1000
		perSec  = 200
		clients = 32
	)
	n := dice.Count(t, burst+300, 10_000)
	up.Forget()
	begin := time.Now()
	together(clients, func(c int) {
		for i := c; i < n; i += clients {
			a, err := w.Send(fronttest.Request{Host: w.dev.Host, Path: fmt.Sprintf("%s%d", path, i+100)})
			if err != nil || a.Status != http.StatusNotFound && a.Status != http.StatusTooManyRequests {
				t.Errorf("%d, %v", a.Status, err)
			}
		}
	})
	most := burst + int(perSec*time.Since(begin).Seconds()) + 1
	if got := up.Count("", "*"); got > most || got == 0 {
		t.Errorf("%d tags that are not there made %d requests in %v, want at most %d", n, got, time.Since(begin), most)
	}
}
