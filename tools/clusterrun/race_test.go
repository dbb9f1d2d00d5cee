package clusterrun

import (
	"net/http"
	"net/url"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/berth-registry/berth/pkg/dice"
	"github.com/berth-registry/berth/tools/testserver"
)

// TestR46_OneBlobPushedByMany lets many clients push the same blob to all nodes
// at once: each is told that it has, and one object is left.
func TestR46_OneBlobPushedByMany(t *testing.T) {
	const clients = 64
	rounds := dice.Count(t, 10, 1000)
	postgres := testserver.StartPostgres(t)
	c := clusterOn(t, whole, "BERTH_META="+postgres.URL())
	oci := c.oci(c.edge)
	for i := range rounds {
		uploads := make([]*upload, clients)
		uploads[0] = c.openUpload("kill/same", 1+c.rng.IntN(4*chunk))
		for j := range uploads {
			if j > 0 {
				same := *uploads[0]
				var err error
				same.location, err = oci.Open(t.Context(), same.repo)
				c.must(err)
				uploads[j] = &same
			}
		}
		var pushes sync.WaitGroup
		for j, u := range uploads {
			pushes.Go(func() {
				var err error
				if j%2 == 0 {
					err = u.finish(t.Context(), oci)
				} else {
					_, err = oci.Do(t.Context(), http.MethodPut, u.location+"?digest="+url.QueryEscape(u.digest), u.bytes, nil, http.StatusCreated)
				}
				if err != nil {
					t.Errorf("round %d, client %d: %v", i, j, err)
				}
			})
		}
		pushes.Wait()
		c.charged += int64(len(uploads[0].bytes))
		c.must(uploads[0].read(t.Context(), oci))
	}
	c.noneCut()
	c.noneRefused()
	conn, err := pgx.Connect(t.Context(), postgres.URL())
	c.must(err)
	defer conn.Close(t.Context())
	var live, condemned int
	c.must(conn.QueryRow(t.Context(), `SELECT count(*) FILTER (WHERE state = 'L'), count(*) FILTER (WHERE state = 'D') FROM objects`).Scan(&live, &condemned))
	// A chunk that is less than a part is an object of its own until it is in the blob.
	if live != rounds || condemned < rounds*(clients-1) {
		t.Errorf("%d rounds left %d live objects and %d condemned ones", rounds, live, condemned)
	}
	c.verify()
}
