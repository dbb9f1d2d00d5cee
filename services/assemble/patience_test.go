package assemble_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/berth-registry/berth/pkg/boot"
	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/tools/testserver"
)

// slowest has a client do all that clients do, with a login in each request, and
// returns the time that one request in a hundred took longer than.
func slowest(t *testing.T, r repository, rounds int) time.Duration {
	t.Helper()
	var took []time.Duration
	timed := func(q request, want int) answer {
		t.Helper()
		began := time.Now()
		a := r.send(t, q).want(t, want)
		took = append(took, time.Since(began))
		return a
	}
	for i := range rounds {
		content := fmt.Appendf(nil, `{"round":"%d %d"}`, i, time.Now().UnixNano())
		config := describe(typeConfig, content)
		m := encode(t, typeImage, imageOf(config))
		blob := headers("Content-Type", typeBytes)
		timed(request{method: http.MethodGet, target: "/v2/"}, http.StatusOK)
		timed(request{method: http.MethodGet, target: "/token?scope=repository:" + r.name + ":pull"}, http.StatusOK)
		location := timed(request{method: http.MethodPost, target: r.at("blobs/uploads/")}, http.StatusAccepted).location(t)
		timed(request{method: http.MethodPatch, target: location, header: blob, body: content}, http.StatusAccepted)
		timed(request{method: http.MethodGet, target: location}, http.StatusNoContent)
		timed(request{method: http.MethodPut, target: withQuery(t, location, "digest", config.Digest.String()), header: blob}, http.StatusCreated)
		timed(request{method: http.MethodPut, target: r.at("manifests/latest"), header: headers("Content-Type", m.MediaType), body: m.payload}, http.StatusCreated)
		timed(request{method: http.MethodHead, target: r.at("manifests/latest")}, http.StatusOK)
		timed(request{method: http.MethodGet, target: r.at("manifests/%s", m.Digest)}, http.StatusOK)
		timed(request{method: http.MethodGet, target: r.at("blobs/%s", config.Digest)}, http.StatusOK)
		timed(request{method: http.MethodGet, target: r.at("tags/list")}, http.StatusOK)
		timed(request{method: http.MethodGet, target: r.at("referrers/%s", m.Digest)}, http.StatusOK)
	}
	slices.Sort(took)
	return took[len(took)*99/100]
}

// TestR14_RedisFailsInEveryWay lets Redis fail while clients push and pull:
// everything succeeds, and next to nothing takes longer.
func TestR14_RedisFailsInEveryWay(t *testing.T) {
	const most, tries = 100 * time.Millisecond, 3
	rounds := dice.Count(t, 20, 500)
	redis := testserver.StartLyingRedis(t, testserver.StartRedis(t).Addr())
	w := startOnServers(t, uploadsSeed, redis.URL())
	r := w.repository(uploadsHost, "suite", "patience/"+runID)
	slowest(t, r, 5) // connections are made
	for _, mode := range []testserver.RedisMode{
		testserver.RedisRefused, testserver.RedisBlackhole, testserver.RedisDropRequests, testserver.RedisDropReplies,
		testserver.RedisSlow, testserver.RedisReset,
	} {
		t.Run(string(mode), func(t *testing.T) {
			var added time.Duration
			for range tries { // a busy machine takes longer now and then, too
				redis.SetMode(t, testserver.RedisHonest)
				usual := slowest(t, r, rounds)
				redis.SetMode(t, mode)
				if added = slowest(t, r, rounds) - usual; added <= most {
					break
				}
			}
			t.Logf("added to the 99th percentile: %s", added)
			if added > most {
				t.Errorf("%s are added to the 99th percentile, more than %s", added, most)
			}
		})
	}
	w.stop(t)
	w.wantSound(t)
}

// TestR26_StandbyThatLags names a standby in the URL, which hears of nothing:
// who pushed sees it at once.
func TestR26_StandbyThatLags(t *testing.T) {
	t.Parallel()
	db := testserver.StartPostgres(t)
	standby := db.Standby(false)
	c := serversWith(t, db, "")
	u, err := url.Parse(db.URL())
	if err != nil {
		t.Fatal(err)
	}
	u.Host = standby.Addr() + "," + db.Addr()
	c.Meta = boot.NewURL(u.String())
	w := startOneWith(t, c, uploadsSeed)
	standby.Exec(`SELECT pg_wal_replay_pause()`)
	r := w.repository(uploadsHost, "suite", "lag/"+runID)
	for i := range dice.Count(t, 20, 1000) {
		content := fmt.Appendf(nil, `{"number":%d}`, i)
		config := r.blobOf(t, typeConfig, content)
		r.head(t, r.at("blobs/%s", digest.FromBytes(content))).want(t, http.StatusOK)
		m := r.push(t, encode(t, typeImage, imageOf(config)), "latest")
		r.wantManifest(t, "latest", m)
	}
	w.stop(t)
	w.wantSound(t)
}
