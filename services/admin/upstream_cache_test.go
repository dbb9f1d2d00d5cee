package admin

import (
	"testing"

	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// TestT59_WhatAChangeKeepsOfTheCache: only another password of the same account keeps it
// for a proof.
func TestT59_WhatAChangeKeepsOfTheCache(t *testing.T) {
	cert, key := issued(t)
	for body, want := range map[string]keeping{
		`{"password": "another"}`:                   keptUnproved,
		`{"password": "another", "tag_ttl": "60s"}`: keptUnproved,
		`{"alternatives": [{"url": "https://second.example", "username": "b", "password": "2"}]}`: keptUnproved,
		`{"password": "` + upstreamPassword + `"}`:                                                keptWhole,
		`{"tag_ttl": "60s"}`:                                                                      keptWhole,
		`{"username": "other", "password": "another"}`:                                            keptNot,
		`{"username": "other"}`:                                                                   keptNot,
		`{"username": "", "password": ""}`:                                                        keptNot,
		`{"password": ""}`:                                                                        keptNot,
		`{"url": "https://quay.io", "password": "another"}`:                                       keptNot,
		`{"auth_hosts": ["auth.example"], "password": "another"}`:                                 keptNot,
		`{"headers": [{"name": "X-A", "value": "1"}], "password": "an"}`:                          keptNot,
		`{"alternatives": [], "password": "another"}`:                                             keptNot,
		`{"alternatives": [{"url": "https://second.example", "username": "c", "password": "2"}]}`: keptNot,
		`{"client_certificate": ` + cert + `, "client_key": ` + key + `, "password": "another"}`:  keptNot,
	} {
		a := withPassword(t)
		a.call(200, "PATCH", upstreams+"/ghcr", `{"alternatives": [{"url": "https://second.example", "username": "b", "password": "1"}]}`)
		was := a.upstream("acme", "ghcr")
		a.call(200, "PATCH", upstreams+"/ghcr", body)
		is, got := a.upstream("acme", "ghcr"), keptNot
		switch {
		case is.Cache == was.Cache:
			got = keptWhole
		case is.Unproved:
			got = keptUnproved
		}
		if got != want {
			t.Errorf("%.80s: %d, want %d", body, got, want)
		}
	}
	a := withPassword(t)
	a.call(200, "PATCH", upstreams+"/ghcr", `{"password": "another"}`)
	a.call(200, "PATCH", upstreams+"/ghcr", `{"username": "other", "password": "another"}`)
	if is := a.upstream("acme", "ghcr"); is.Unproved {
		t.Error("what a former password left is kept for another account")
	}
	// A first password is another kind of credential.
	a.call(200, "PATCH", upstreams+"/ghcr", `{"username": "robot", "password": ""}`)
	a.call(200, "PATCH", upstreams+"/ghcr", `{"password": "first"}`)
	if is := a.upstream("acme", "ghcr"); is.Unproved {
		t.Error("what was fetched without a password is kept for one")
	}
}

// TestT59_APurgeIncludesWhatIsNotProved: it would come back with the proof.
func TestT59_APurgeIncludesWhatIsNotProved(t *testing.T) {
	for _, body := range []string{`{"repository": "library/app"}`, `{"repository": "library/app", "reference": "v1"}`, `{}`} {
		a := withPassword(t)
		u := a.upstream("acme", "ghcr")
		m := []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`)
		parsed, err := oci.ParseManifest(oci.MediaTypeImageIndex, m)
		if err != nil {
			t.Fatal(err)
		}
		r := meta.Repo{Tenant: u.Tenant, Registry: u.Cache, Name: "library/app"}
		if err := a.store.PutCached(t.Context(), meta.CachedPut{
			Repo: r, Parsed: parsed, Tag: "v1", Keep: meta.DefaultUpstreamSettings.Keep,
			Manifest: meta.Manifest{Digest: oci.DigestOf(oci.SHA256, m), MediaType: oci.MediaTypeImageIndex, Payload: m},
		}); err != nil {
			t.Fatal(err)
		}
		a.call(200, "PATCH", upstreams+"/ghcr", `{"password": "another"}`)
		a.call(200, "POST", upstreams+"/ghcr:purge", body)
		r.Registry = a.upstream("acme", "ghcr").Cache
		if err := a.store.ProveCached(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if _, err := a.store.FindCachedTag(t.Context(), r, "v1"); err == nil {
			t.Errorf("%s: it came back", body)
		}
		if body != `{}` {
			a.call(404, "POST", upstreams+"/ghcr:purge", body)
		}
	}
}
