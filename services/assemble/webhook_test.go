package assemble_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	standard "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/berth-registry/berth/pkg/await"
)

const webhookSecret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"

// TestW200_APushReachesAReceiver pushes an image, on SQLite and by three nodes on Postgres, of
// which any may send, and verifies what arrives.
func TestW200_APushReachesAReceiver(t *testing.T) {
	t.Parallel()
	for shape, start := range map[string]func(*testing.T, string) *world{
		"embedded": func(t *testing.T, seed string) *world { t.Helper(); return startEmbedded(t, seed, chained) },
		"whole":    func(t *testing.T, seed string) *world { t.Helper(); return startWhole(t, seed, "", chained) },
	} {
		t.Run(shape, func(t *testing.T) {
			t.Parallel()
			type request struct {
				header http.Header
				body   []byte
			}
			requests := make(chan request, 16)
			receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				requests <- request{r.Header, body}
			}))
			t.Cleanup(receiver.Close)
			w := start(t, tagRulesSeed)
			const ci = "/v1/tenants/acme/webhooks/ci"
			w.admin(t, http.MethodPost, "/v1/tenants/acme/webhooks?webhook_id=ci", map[string]any{
				"url": receiver.URL + "/hook", "secret": webhookSecret, "events": []string{"manifest.put"}, "registry": "dev", "repositories": []string{"team/**"},
			}).want(t, http.StatusOK)
			w.repository(devHost, "suite", "other").push(t, w.repository(devHost, "suite", "other").image(t, nil), "v1")
			suite := w.repository(devHost, "suite", "team/app")
			image := suite.image(t, nil)
			suite.push(t, image, "v1")
			v, err := standard.NewWebhook(webhookSecret)
			if err != nil {
				t.Fatal(err)
			}
			tagged := 0
			for range 2 { // the push puts it by its digest, and by its tag
				var got request
				select {
				case got = <-requests:
				case <-time.After(time.Minute):
					t.Fatal("nothing arrives")
				}
				if err := v.Verify(got.body, got.header); err != nil {
					t.Error(err)
				}
				var event struct {
					Type string
					Data struct {
						Registry, Repository, Digest string
						Tags                         []struct{ Name, Version string }
					}
				}
				if err := json.Unmarshal(got.body, &event); err != nil {
					t.Fatal(err)
				}
				if d := event.Data; event.Type != "io.github.berth-registry.manifest.put" || d.Registry != "dev" || d.Repository != "team/app" || d.Digest == "" {
					t.Errorf("%s", got.body)
				}
				if tags := event.Data.Tags; len(tags) == 1 && tags[0].Name == "v1" && tags[0].Version != "" {
					tagged++
				}
			}
			if tagged != 1 {
				t.Errorf("%d events say which version of the tag they made", tagged)
			}
			var log struct{ Deliveries []struct{ State string } }
			await.True(t, 10*time.Second, "the delivery is recorded", func() bool {
				w.admin(t, http.MethodGet, ci+"/deliveries?state=DELIVERED", nil).want(t, http.StatusOK).decode(t, &log)
				return len(log.Deliveries) == 2
			})
			w.stop(t)
			w.wantSound(t)
			if len(requests) != 0 {
				t.Errorf("%d requests more", len(requests))
			}
		})
	}
}

// TestE17_NoConnectionToAnInnerAddress has a webhook whose address is no longer one that tenants may
// reach: nothing connects to it, and the tenant learns no more than of a server that is out. A new
// one is refused.
func TestE17_NoConnectionToAnInnerAddress(t *testing.T) {
	t.Parallel()
	sink, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sink.Close() })
	connections := make(chan string, 16)
	go func() {
		for {
			conn, err := sink.Accept()
			if err != nil {
				return
			}
			connections <- conn.RemoteAddr().String()
			_ = conn.Close()
		}
	}()
	w := startEmbedded(t, tagRulesSeed, chained)
	body := map[string]any{"url": "http://" + sink.Addr().String(), "secret": webhookSecret, "events": []string{"manifest.put"}}
	w.admin(t, http.MethodPost, "/v1/tenants/acme/webhooks?webhook_id=ci", body).want(t, http.StatusOK)
	w.stop(t)
	w.nodes[0].config.UpstreamAllow = nil
	w.restart(t)
	w.admin(t, http.MethodPost, "/v1/tenants/acme/webhooks?webhook_id=another", body).want(t, http.StatusBadRequest)
	suite := w.repository(devHost, "suite", "app")
	suite.push(t, suite.image(t, nil), "v1")
	var log struct{ Deliveries []struct{ Failure string } }
	await.True(t, 30*time.Second, "an attempt fails", func() bool {
		w.admin(t, http.MethodGet, "/v1/tenants/acme/webhooks/ci/deliveries?state=PENDING", nil).want(t, http.StatusOK).decode(t, &log)
		return len(log.Deliveries) > 0 && log.Deliveries[0].Failure != ""
	})
	if got := log.Deliveries[0].Failure; strings.Contains(got, "127.0.0.1") || !strings.Contains(got, "no answer") {
		t.Error(got)
	}
	if len(connections) != 0 {
		t.Errorf("%s connected", <-connections)
	}
}
