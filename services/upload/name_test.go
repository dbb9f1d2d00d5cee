package upload_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/berth-registry/berth/pkg/access"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci/ocitest"
	"github.com/berth-registry/berth/pkg/tenant"
	"github.com/berth-registry/berth/services/internal/fronttest"
)

// openBesides makes a registry open to anyone whose chain is prod, with a group of
// its own, and then a mirror that may be asked for claimed names below old/. It
// returns both.
func openBesides(t *testing.T, c client) (tenant.Site, tenant.Site) {
	t.Helper()
	for slug, allow := range map[string][]string{"hub": nil, "ghcr": nil, "mirror": {"old/**"}} {
		s := meta.DefaultUpstreamSettings
		s.URL, s.AllowClaimed = "https://"+slug+".example", allow
		if slug == "ghcr" {
			s.NamePrefix, s.Include, s.Exclude = "acme/", []string{"acme/team-*/**"}, []string{"acme/team-x/**"}
		}
		if _, err := c.Meta.CreateUpstream(t.Context(), fronttest.By(), meta.Upstream{Tenant: c.site.Tenant, Slug: slug, Settings: s}); err != nil {
			t.Fatal(err)
		}
	}
	c.Group(c.site, "below", meta.Member{Upstream: "ghcr"})
	prod := c.Registry(c.site, "prod", tenant.Settings{UpstreamGroup: "below"})
	c.Group(c.site, "chain",
		meta.Member{Upstream: "hub", Include: []string{"library/**"}},
		meta.Member{Registry: "prod", Exclude: []string{"team-y/**"}},
		meta.Member{Upstream: "mirror", Include: []string{"old/**"}})
	return c.Registry(c.site, "open", tenant.Settings{AnonymousPush: true, UpstreamGroup: "chain"}), prod
}

// TestG4_NamesOfUpstreamsAreNotForAnybody: the first push takes a name from the
// upstreams, for all clients that pull it here.
func TestG4_NamesOfUpstreamsAreNotForAnybody(t *testing.T) {
	c := serve(t, nil)
	open, prod := openBesides(t, c)
	for _, name := range []string{"library/taken", "old/taken"} {
		c.PutManifest(fronttest.Repo(open, name), ocitest.Index().Bytes, "1")
	}
	for _, name := range []string{"library/prods", "old/prods"} {
		c.PutManifest(fronttest.Repo(prod, name), ocitest.Index().Bytes, "1")
	}
	c.PutBlob(fronttest.Repo(open, "library/blob"), []byte("shared"))
	digest := sha256Of([]byte("shared"))
	for _, r := range []struct{ name, upstream string }{
		{"library/alpine", "hub"},
		{"library/blob", "hub"}, // a blob takes no name
		{"library/taken", ""},
		{"library/prods", ""}, // prod answers for it
		{"team-a/app", "ghcr"},
		{"team-x/app", ""},
		{"team-y/app", ""},
		{"old/app", "mirror"},
		{"old/prods", "mirror"},
		{"old/taken", ""},
		{"app", ""},
		{"libraryx/app", ""},
	} {
		scope := access.Repository(r.name, access.Pull|access.Push)
		anonymous, writer := c.Token(open, access.Principal{}, scope), c.Token(open, access.ServiceAccount(open.Tenant, 0, "writer", access.Writer), scope)
		for what, query := range map[string]string{
			"start": "", "whole": "?digest=" + digest.String(), "mount": "?mount=" + digest.String() + "&from=library/blob",
		} {
			post := fronttest.Request{Method: http.MethodPost, Host: open.Host, Path: "/v2/" + r.name + "/blobs/uploads/" + query}
			if what == "whole" {
				post.Body = "shared"
			}
			for who, bearer := range map[string]string{"nobody": "", "anonymous token": anonymous, "writer": writer} {
				post.Bearer = bearer
				a := c.Do(post)
				refused := r.upstream != "" && who != "writer"
				said := a.Status == http.StatusForbidden && a.Code() == "DENIED" &&
					strings.Contains(a.Body, "belongs to upstream "+r.upstream+" in this registry: log in")
				if refused && !said || !refused && a.Status != http.StatusAccepted && a.Status != http.StatusCreated {
					t.Errorf("%s: %s by %s: %d %s", r.name, what, who, a.Status, a.Body)
				}
			}
		}
	}
	if u, err := c.Meta.ClaimedBy(t.Context(), open.Tenant, []tenant.RegistryID{open.Registry}, "library/alpine"); err != nil || u {
		t.Errorf("a refused push took the name: %v, %v", u, err)
	}
}

// Who may not push at all is told nothing of upstreams, and a chain that cannot be
// followed is an outage, not a free name.
func TestG4_RightsAreDecidedFirst(t *testing.T) {
	c := serve(t, nil)
	c.Group(c.site, "loop")
	private := c.Registry(c.site, "private", tenant.Settings{AnonymousPull: true, UpstreamGroup: "loop"})
	open := c.Registry(c.site, "open", tenant.Settings{AnonymousPush: true, UpstreamGroup: "loop"})
	group, err := c.Meta.FindGroup(t.Context(), c.site.Tenant, "loop")
	if err != nil {
		t.Fatal(err)
	}
	group.Members = []meta.Member{{Registry: "open"}}
	if _, err := c.Meta.UpdateGroup(t.Context(), fronttest.By(), group); err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]int{private.Host: http.StatusUnauthorized, open.Host: http.StatusServiceUnavailable} {
		a := c.Do(fronttest.Request{Method: http.MethodPost, Host: host, Path: "/v2/library/alpine/blobs/uploads/"})
		if a.Status != want || strings.Contains(a.Body, "upstream ") && want == http.StatusUnauthorized {
			t.Errorf("%s: %d %s, want %d", host, a.Status, a.Body, want)
		}
	}
}
