package admin

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/berth-registry/berth/pkg/meta"
)

// TestS78_WhetherAnybodyIsServedIsChosen follows serve_anonymous of upstreams that
// are made now, and of one of before there was a choice.
func TestS78_WhetherAnybodyIsServedIsChosen(t *testing.T) {
	a := withPassword(t)
	want := func(slug string, serve any, warned bool) {
		t.Helper()
		got := a.call(200, "GET", upstreams+"/"+slug, "")
		if got["serve_anonymous"] != serve || (got["warning"] != "") != warned {
			t.Errorf("%s: serve_anonymous %v, warning %q; want %v, a warning %t", slug, got["serve_anonymous"], got["warning"], serve, warned)
		}
	}
	unchosen := func(want ...string) {
		t.Helper()
		named, n, err := a.service.Unchosen(t.Context())
		if err != nil || n != len(want) || !slices.Equal(named, want) {
			t.Errorf("unchosen: %q, %d, %v; want %q", named, n, err, want)
		}
	}
	want("ghcr", false, false)
	a.call(200, "PATCH", upstreams+"/ghcr", `{"serve_anonymous": true}`)
	want("ghcr", true, false)
	a.call(200, "PATCH", upstreams+"/ghcr?update_mask=serve_anonymous", `{}`)
	want("ghcr", false, false)

	before := func(slug, settings string) {
		t.Helper()
		a.call(200, "POST", upstreams+"?upstream_id="+slug, settings)
		u := a.upstream("acme", slug)
		u.Settings.ServeAnonymous = nil
		if _, err := a.store.UpdateUpstream(t.Context(), meta.Cause{Op: uuid.New()}, u, false); err != nil {
			t.Fatal(err)
		}
	}
	before("hub", `{"url": "https://hub.example", "username": "bob", "password": "`+upstreamPassword+`"}`)
	before("open", `{"url": "https://open.example"}`)
	want("hub", nil, true)
	want("open", nil, false)
	unchosen("tenants/acme/upstreams/hub")
	a.call(200, "PATCH", upstreams+"/hub", `{"tag_ttl": "60s"}`)
	a.call(200, "PATCH", upstreams+"/hub", `{"username": "alice", "password": "another password"}`)
	want("hub", nil, true)
	a.call(200, "PATCH", upstreams+"/hub", `{"serve_anonymous": false}`)
	want("hub", false, false)
	unchosen()
	// One that never had a credential served no one with one.
	a.call(200, "PATCH", upstreams+"/open", `{"tag_ttl": "60s"}`)
	want("open", nil, false)
	a.call(200, "PATCH", upstreams+"/open", `{"username": "bob", "password": "`+upstreamPassword+`"}`)
	want("open", false, false)
}

// TestS73_MirrorUpstreamsAreChecked names upstreams in mirror_upstreams that cannot
// be named.
func TestS73_MirrorUpstreamsAreChecked(t *testing.T) {
	a := withChain(t)
	const dev = "/v1/tenants/acme/registries/dev"
	for _, list := range []string{`["none"]`, `["ghcr", "ghcr"]`, `["Not a slug"]`, `[""]`} {
		for _, suffix := range []string{"", "?validate_only=true"} {
			a.call(400, "PATCH", dev+suffix, `{"mirror_upstreams": `+list+`}`)
		}
	}
	if got := a.call(200, "PATCH", dev, `{"mirror_upstreams": ["ghcr"]}`); fmt.Sprint(got["mirror_upstreams"]) != "[ghcr]" || got["upstream_group"] != "chain" {
		t.Errorf("%v", got)
	}
	a.call(200, "PATCH", dev, `{"upstream_group": ""}`)
	a.call(200, "DELETE", "/v1/tenants/acme/upstreamGroups/chain", "")
	a.call(400, "DELETE", upstreams+"/ghcr", "")
	a.call(200, "PATCH", dev+"?update_mask=mirror_upstreams", `{}`)
	a.call(200, "DELETE", upstreams+"/ghcr", "")
}
