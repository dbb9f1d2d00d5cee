package front_test

import (
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/await"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/front"
	"github.com/berth-registry/berth/services/internal/fronttest"
	"github.com/berth-registry/berth/services/internal/usage"
)

// answering is a service that answers what the query says.
func answering(w http.ResponseWriter, r *http.Request) {
	c, q := front.CallOf(r.Context()), r.URL.Query()
	if q.Has("cached") {
		c.SetCached(w.Header())
	}
	status := http.StatusOK
	switch {
	case q.Has("redirect"):
		c.CountRedirect(w.Header(), 5000)
		status = http.StatusTemporaryRedirect
	case q.Has("shared"):
		c.CountShared(w.Header(), 700)
		status = http.StatusCreated
	case q.Has("missing"):
		status = http.StatusNotFound
	case q.Has("part"):
		status = http.StatusPartialContent
	case r.Method == http.MethodPut:
		status = http.StatusCreated
	}
	_, _ = io.Copy(io.Discard, r.Body)
	w.WriteHeader(status)
	_, _ = io.WriteString(w, strings.Repeat("x", 100))
}

// usageOf is what the counters of a deployment wrote of a tenant.
func usageOf(t *testing.T, d *fronttest.Deployment, slug string) meta.UsageCount {
	t.Helper()
	if err := d.Usage.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	found, err := d.Meta.FindTenant(t.Context(), slug)
	if err != nil {
		t.Fatal(err)
	}
	periods, err := d.Meta.UsagePeriods(t.Context(), found.ID, meta.UsageQuery{Unit: meta.UsageHour, Size: 10})
	if err != nil {
		t.Fatal(err)
	}
	var sum meta.UsageCount
	for _, p := range periods {
		sum.Pulls += p.Pulls
		sum.Pushes += p.Pushes
		sum.EgressBytes += p.EgressBytes
		sum.ReceivedBytes += p.ReceivedBytes
		sum.CacheSavedBytes += p.CacheSavedBytes
		sum.SharingSavedBytes += p.SharingSavedBytes
	}
	return sum
}

// Each request adds to the usage of the tenant whose host it came to, whether this process
// answers it or another one.
func TestW254_ARequestIsCountedWhereItsClientIs(t *testing.T) {
	service := http.HandlerFunc(answering)
	remote := func(t *testing.T) http.Handler {
		t.Helper()
		u, err := url.Parse(listenInternal(t, deploymentKey, &journal{}, front.Services{Registry: service, Upload: service, Proxy: service}).URL)
		if err != nil {
			t.Fatal(err)
		}
		return front.Remote{Service: "other", URL: u, Calls: access.NewInternal(deploymentKey), Log: slog.New(slog.DiscardHandler)}.Handler()
	}
	const blob = "/v2/app/blobs/sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for shape, h := range map[string]http.Handler{"here": service, "in another process": remote(t)} {
		t.Run(shape, func(t *testing.T) {
			d := openDeployment(t)
			private := d.Registry(d.Site("acme.localhost"), "private", tenant.Settings{})
			d.Account(private, "ci", access.Reader)
			reader := http.Header{}
			reader.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("ci:"+fronttest.Secret("ci"))))
			d.Usage = usage.New(d.Meta, d.Log)
			d.Serve(front.Services{Registry: h, Upload: h, Token: h})
			var total meta.UsageCount
			for _, c := range []struct {
				name         string
				method, path string
				body         string
				want         meta.UsageCount
			}{
				{"a pull", "GET", "/v2/app/manifests/1", "", meta.UsageCount{Pulls: 1, EgressBytes: 100}},
				{"a HEAD", "HEAD", "/v2/app/manifests/1", "", meta.UsageCount{}},
				{"a pull of nothing", "GET", "/v2/app/manifests/1?missing", "", meta.UsageCount{}},
				{"a blob", "GET", blob, "", meta.UsageCount{EgressBytes: 100}},
				{"a part of a blob", "GET", blob + "?part", "", meta.UsageCount{EgressBytes: 100}},
				{"a HEAD of a blob", "HEAD", blob, "", meta.UsageCount{}},
				{"a redirect", "GET", blob + "?redirect", "", meta.UsageCount{EgressBytes: 5000}},
				{"a redirect to what is cached", "GET", blob + "?redirect&cached", "", meta.UsageCount{EgressBytes: 5000, CacheSavedBytes: 5000}},
				{"a blob of a cache", "GET", blob + "?cached", "", meta.UsageCount{EgressBytes: 100, CacheSavedBytes: 100}},
				{"a list", "GET", list, "", meta.UsageCount{}},
				{"a push", "PUT", "/v2/app/manifests/1", "a manifest", meta.UsageCount{Pushes: 1, ReceivedBytes: 10}},
				{"a refused push", "PUT", "/v2/app/manifests/1?missing", "a manifest", meta.UsageCount{ReceivedBytes: 10}},
				{"a blob that is pushed", "PATCH", session, "a part of it", meta.UsageCount{ReceivedBytes: 12}},
				{"a mount", "POST", "/v2/app/blobs/uploads/?shared", "", meta.UsageCount{SharingSavedBytes: 700}},
				{"a deletion", "DELETE", "/v2/app/manifests/1", "", meta.UsageCount{}},
			} {
				a := d.Do(fronttest.Request{Method: c.method, Host: "acme.localhost", Path: c.path, Body: c.body})
				if a.Header.Get("Berth-Internal-Usage") != "" {
					t.Errorf("%s: a client is told %q", c.name, a.Header.Get("Berth-Internal-Usage"))
				}
				total.Pulls += c.want.Pulls
				total.Pushes += c.want.Pushes
				total.EgressBytes += c.want.EgressBytes
				total.ReceivedBytes += c.want.ReceivedBytes
				total.CacheSavedBytes += c.want.CacheSavedBytes
				total.SharingSavedBytes += c.want.SharingSavedBytes
				// A call ends, and is counted, after its client has the answer.
				await.True(t, 10*time.Second, fmt.Sprintf("%s (%d) to count %+v", c.name, a.Status, c.want), func() bool { return usageOf(t, d, "acme") == total })
			}
			for _, r := range []fronttest.Request{
				{Host: "private.acme.localhost", Path: "/v2/app/manifests/1", Header: fronttest.Headers("Authorization", "Basic eDp5")},
				{Method: "PUT", Host: "private.acme.localhost", Path: "/v2/app/manifests/1", Body: "a manifest", Header: fronttest.Headers("Authorization", "Basic eDp5")},
				{Host: "unknown.localhost", Path: "/v2/app/manifests/1"},
				{Method: "PUT", Host: "private.acme.localhost", Path: "/v2/app/manifests/1?missing", Body: "a manifest of somebody without an account"},
				{Method: "PATCH", Host: "private.acme.localhost", Path: session, Body: "a part of a blob of somebody without an account"},
				{Method: "PATCH", Host: "private.acme.localhost", Path: session, Body: "a part of a blob of one who only pulls", Header: reader},
			} {
				d.Do(r)
			}
			d.Server.Close() // when all calls have ended
			if got := usageOf(t, d, "acme"); got != total {
				t.Errorf("with strangers, all counts %+v, want %+v", got, total)
			}
			if got := usageOf(t, d, "other"); got != (meta.UsageCount{}) {
				t.Errorf("another tenant has %+v", got)
			}
		})
	}
}
