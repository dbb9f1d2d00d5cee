package clusterrun

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// verify fails the test if anything that was acknowledged is not there, if the
// quota is not exact, or if fsck finds anything.
func (c *cluster) verify() {
	c.t.Helper()
	began := time.Now()
	said, err := c.audit(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Logf("verified in %v: %s", time.Since(began).Round(time.Millisecond), said)
}

// audit is verify; it returns what was looked at, in words.
func (c *cluster) audit(ctx context.Context) (string, error) {
	seen, err := c.client(c.oci(c.edge)).Verify(ctx)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s; the quota is exact; fsck finds nothing", seen), errors.Join(c.auditQuota(ctx, seen.Bytes+c.charged), c.fsck(ctx))
}

// auditQuota is invariant I7: exact, not only bounded.
func (c *cluster) auditQuota(ctx context.Context, want int64) error {
	var usage struct {
		Used int64 `json:"used_bytes,string"`
	}
	if err := c.admin().Call(ctx, secret, http.MethodGet, "/v1/tenants/"+tenant+"/usage", "", &usage); err != nil {
		return err
	}
	if usage.Used != want {
		return fmt.Errorf("the tenant is charged for %d bytes, and its blobs have %d", usage.Used, want)
	}
	return nil
}

func (c *cluster) fsck(ctx context.Context) error {
	said, err := c.admin().Run(ctx, "fsck", "--deep")
	if err != nil {
		return fmt.Errorf("%w\n%s", err, said)
	}
	return nil
}

// noneCut fails the test if a request got no whole answer: where nodes live,
// each gets one.
func (c *cluster) noneCut() {
	c.t.Helper()
	for _, what := range c.counts().cut {
		c.t.Error("no answer, although the node lives: ", what)
	}
}

// noneRefused fails the test if a request was told "later".
func (c *cluster) noneRefused() {
	c.t.Helper()
	if seen := c.counts(); seen.refusals() > 0 {
		c.t.Errorf("%d requests were refused, by status: %v", seen.refusals(), seen.refused)
	}
}
