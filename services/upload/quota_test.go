package upload_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
	"github.com/berth-registry/berth/services/internal/fronttest"
)

// limit sets the tenant's quota in bytes.
func (c client) limit(quota int64) {
	c.t.Helper()
	acme, err := c.Meta.FindTenant(c.t.Context(), c.site.TenantSlug)
	if err != nil {
		c.t.Fatal(err)
	}
	acme.Quota = quota
	if _, err := c.Meta.UpdateTenant(c.t.Context(), fronttest.By(), acme); err != nil {
		c.t.Fatal(err)
	}
}

// used is what the tenant is charged with.
func (c client) used() int64 {
	c.t.Helper()
	acme, err := c.Meta.FindTenant(c.t.Context(), c.site.TenantSlug)
	if err != nil {
		c.t.Fatal(err)
	}
	return acme.Used
}

// Parallel pushes of different blobs do not pass the quota together, and each
// is told so in the same way; what is there already is found by a HEAD, as clients
// ask before they upload.
func TestC14_ParallelPushesKeepTheQuota(t *testing.T) {
	const size, room, pushes = 16 << 10, 10, 64
	c := serve(t, nil)
	c.limit(size*room + size/2)
	push := func(i int) fronttest.Answer {
		content := fmt.Sprintf("%d%s", i, strings.Repeat(" ", size))[:size]
		return c.send(http.MethodPost, c.uploads("?digest="+oci.DigestOf(oci.SHA256, []byte(content)).String()), content)
	}
	answers := make([]fronttest.Answer, pushes)
	var all sync.WaitGroup
	for i := range pushes {
		all.Go(func() { answers[i] = push(i) })
	}
	all.Wait()
	stored := 0
	for i, a := range answers {
		switch {
		case a.Status == http.StatusCreated:
			stored++
			content := fmt.Sprintf("%d%s", i, strings.Repeat(" ", size))[:size]
			d := oci.DigestOf(oci.SHA256, []byte(content))
			if _, err := c.Meta.CheckBlob(t.Context(), c.repo(), d); err != nil {
				t.Errorf("what is charged already: %v", err)
			}
		case a.Status != http.StatusForbidden || a.Code() != "DENIED" || !strings.Contains(a.Body, `"detail":"quota exceeded"`):
			t.Errorf("push %d: %d %s", i, a.Status, a.Body)
		}
	}
	if stored != room {
		t.Errorf("%d pushes of %d bytes are stored under a quota of %d and a half", stored, size, room)
	}
	if used := c.used(); used != int64(stored)*size {
		t.Errorf("%d blobs of %d bytes are charged as %d", stored, size, used)
	}
}

// A claim of a size counts for nothing: what is charged are the bytes that came.
func TestC14_SizesAreCountedNotClaimed(t *testing.T) {
	c := serve(t, nil)
	c.limit(meta.RepositoryCost + meta.BlobCost + 100)
	const content = "twelve bytes"
	digest := oci.DigestOf(oci.SHA256, []byte(content)).String()
	for _, claim := range []string{"0--1", "-12-0", "0-9223372036854775807", "0-99", "12-0"} {
		a := c.send(http.MethodPost, c.uploads("?digest="+digest), content, "Content-Range", claim)
		if a.Status != http.StatusBadRequest {
			t.Errorf("Content-Range %s: %d %s", claim, a.Status, a.Body)
		}
	}
	if used := c.used(); used != 0 {
		t.Errorf("refused pushes are charged with %d bytes", used)
	}
	if a := c.send(http.MethodPost, c.uploads("?digest="+digest), content); a.Status != http.StatusCreated || c.used() != int64(len(content)) {
		t.Errorf("%d %s, charged %d", a.Status, a.Body, c.used())
	}
}

// A push beyond the quota of its registry is refused and says so, and stores nothing.
func TestW264_ARegistrysQuotaRefusesAPush(t *testing.T) {
	c := serve(t, nil)
	r, err := c.Meta.FindRegistry(t.Context(), c.site.Tenant, c.site.RegistrySlug)
	if err != nil {
		t.Fatal(err)
	}
	r.Settings.Quota.Bytes = 10
	if _, err := c.Meta.UpdateRegistry(t.Context(), fronttest.By(), r); err != nil {
		t.Fatal(err)
	}
	push := func(content string) fronttest.Answer {
		return c.send(http.MethodPost, c.uploads("?digest="+oci.DigestOf(oci.SHA256, []byte(content)).String()), content)
	}
	if a := push("12345"); a.Status != http.StatusCreated {
		t.Fatalf("within the quota: %d %s", a.Status, a.Body)
	}
	used := c.used()
	a := push("123456")
	if a.Status != http.StatusForbidden || a.Code() != "DENIED" ||
		!strings.Contains(a.Body, "with this, this registry would hold 11 bytes, and the quota is 10") || !strings.Contains(a.Body, `"detail":"quota exceeded"`) {
		t.Errorf("beyond the quota: %d %s", a.Status, a.Body)
	}
	if a := push("12345"); a.Status != http.StatusCreated {
		t.Errorf("what is there already: %d %s", a.Status, a.Body)
	}
	if now := c.used(); now != used {
		t.Errorf("the tenant has %d bytes, and had %d", now, used)
	}
}
