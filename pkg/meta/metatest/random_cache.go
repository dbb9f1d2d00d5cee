package metatest

import (
	"maps"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/berth-registry/berth/pkg/fault"
	"github.com/berth-registry/berth/pkg/meta"
	"github.com/berth-registry/berth/pkg/oci"
)

// modelKeep is short, so that what is fetched goes while the model runs.
const modelKeep = 48 * time.Hour

// modelCache is what the cache of an upstream must hold, and must not.
type modelCache struct {
	*model
	upstream  meta.Upstream
	manifests map[oci.Digest]*modelCached
	tags      map[string]oci.Digest
	linked    map[string]bool      // contents that were stored or linked, and not released since
	promised  map[string]time.Time // until when one is held that no manifest names
}

type modelCached struct {
	put      meta.ManifestPut
	contents []string     // that it names
	children []oci.Digest // that it lists
	until    time.Time    // kept so long at least
	latest   time.Time    // kept so long at most, except for the indexes that list it
}

func newModelCache(m *model) *modelCache {
	c := &modelCache{model: m, upstream: m.addUpstream("ghcr", meta.UpstreamSettings{})}
	c.forget()
	return c
}

func (c *modelCache) forget() {
	c.manifests, c.tags = map[oci.Digest]*modelCached{}, map[string]oci.Digest{}
	c.linked, c.promised = map[string]bool{}, map[string]time.Time{}
}

func (c *modelCache) at() meta.Repo {
	return meta.Repo{Tenant: c.tenant, Registry: c.upstream.Cache, Name: "library/app"}
}

// kept says whether the manifest must be there: by its own time, or by that of
// an index that lists it.
func (c *modelCache) kept(d oci.Digest) bool {
	one := c.manifests[d]
	return one != nil && one.until.After(c.Now()) || slices.ContainsFunc(c.listing(d), func(index *modelCached) bool {
		return c.kept(index.put.Manifest.Digest)
	})
}

// latest is how long the manifest may be there at most: an index may have kept
// it that is gone since.
func (c *modelCache) latest(one *modelCached) time.Time {
	latest := one.latest
	for _, index := range c.listing(one.put.Manifest.Digest) {
		if above := c.latest(index); above.After(latest) {
			latest = above
		}
	}
	return latest
}

// listing are the indexes that list the manifest.
func (c *modelCache) listing(d oci.Digest) []*modelCached {
	var indexes []*modelCached
	for _, index := range c.manifests {
		if slices.Contains(index.children, d) {
			indexes = append(indexes, index)
		}
	}
	return indexes
}

func (c *modelCache) named(content string) bool {
	for d, one := range c.manifests {
		if slices.Contains(one.contents, content) && c.kept(d) {
			return true
		}
	}
	return false
}

// holds says whether the content must be there; false says nothing.
func (c *modelCache) holds(content string) bool {
	return c.linked[content] && (c.named(content) || c.promised[content].After(c.Now()))
}

// pickCached draws one of the manifests; nil without any.
func (c *modelCache) pickCached() *modelCached {
	if len(c.manifests) == 0 {
		return nil
	}
	return c.manifests[rapid.SampledFrom(slices.Sorted(maps.Keys(c.manifests))).Draw(c.play, "cached manifest")]
}

// actions are what fetches, pulls and operators do to the cache.
func (c *modelCache) actions() map[string]func(*rapid.T) {
	ctx := c.t.Context()
	return map[string]func(*rapid.T){
		"cache an image": func(*rapid.T) {
			content := c.content()
			contents := []string{content, "only " + content}
			c.put(&modelCached{put: c.imageOf(contents), contents: contents})
		},
		"cache an index": func(*rapid.T) {
			if one, other := c.pickCached(), c.pickCached(); one != nil && len(c.manifests) < 20 {
				index := c.index(one.put.Manifest, other.put.Manifest)
				c.put(&modelCached{put: index, children: []oci.Digest{one.put.Manifest.Digest, other.put.Manifest.Digest}})
			}
		},
		"cache blobs": func(*rapid.T) {
			for _, content := range c.contents() {
				c.fill(c.at(), content)
				c.link(content)
			}
		},
		"link a blob": func(*rapid.T) {
			hosted, content := c.pick(), c.content()
			_, err := c.Store.LinkBlob(ctx, c.at(), digestOf(content))
			if c.expect(err, hosted.holds(c.Now(), content) || c.holds(content), fault.BlobUnknown) {
				c.link(content)
			}
		},
		"pull": func(*rapid.T) {
			if one := c.pickCached(); one != nil {
				pull := meta.CachedPull{Repo: c.at(), Digest: one.put.Manifest.Digest, Keep: modelKeep}
				c.must(c.Store.RecordPulls(ctx, []meta.CachedPull{pull}))
				c.pull(one)
			}
		},
		"trim": func(*rapid.T) {
			c.noteHosted()
			size, err := c.Store.CacheSize(ctx)
			c.must(err)
			_, err = c.Store.TrimCached(ctx, rapid.Int64Range(0, size.Cached).Draw(c.play, "keep"), 10)
			c.must(err)
			c.trimmed()
			if c.oneOf(2, "collected") {
				c.Advance(time.Second)
				c.collect()
				c.collected()
			}
		},
		"drop a cached tag": func(*rapid.T) {
			tag := c.tag()
			c.must(c.Store.DropCachedTag(ctx, c.at(), tag))
			delete(c.tags, tag)
		},
		"purge a cached manifest": func(*rapid.T) {
			if one := c.pickCached(); one != nil {
				err := c.Store.PurgeCached(ctx, cause(), c.at(), oci.Reference{Digest: one.put.Manifest.Digest})
				c.expect(err, c.kept(one.put.Manifest.Digest), fault.ManifestUnknown)
				c.remove(one)
			}
		},
		"purge the cached repository": func(*rapid.T) {
			if c.oneOf(8, "purged") {
				err := c.Store.PurgeCached(ctx, cause(), c.at(), oci.Reference{})
				c.expect(err, len(c.manifests) > 0, fault.NameUnknown)
				c.forget()
			}
		},
		"renew the upstream": func(*rapid.T) {
			if c.oneOf(8, "renewed") {
				var err error
				c.upstream, err = c.Store.UpdateUpstream(ctx, cause(), c.upstream, true)
				c.must(err)
				c.forget()
			}
		},
	}
}

func (c *modelCache) tag() string {
	return rapid.SampledFrom(numbered("v%d", 3)).Draw(c.play, "cached tag")
}

func (c *modelCache) put(one *modelCached) {
	c.t.Helper()
	tag := ""
	if c.oneOf(2, "tagged") {
		tag = c.tag()
	}
	d := one.put.Manifest.Digest
	c.must(c.Store.PutCached(c.t.Context(), meta.CachedPut{
		Repo: c.at(), Manifest: one.put.Manifest, Parsed: one.put.Parsed, Tag: tag, Keep: modelKeep,
	}))
	one.until = c.Now().Add(modelKeep)
	one.latest = one.until
	c.manifests[d] = one
	if tag != "" {
		c.tags[tag] = d
	}
}

func (c *modelCache) link(content string) {
	c.linked[content], c.promised[content] = true, c.Now().Add(meta.DefaultLifetimes.Grace)
}

// pull keeps a manifest, if it is there, with all that lists it.
func (c *modelCache) pull(one *modelCached) {
	d := one.put.Manifest.Digest
	if c.kept(d) {
		one.until = c.Now().Add(modelKeep - time.Hour)
	}
	one.latest = c.Now().Add(modelKeep)
	for _, index := range c.listing(d) {
		c.pull(index)
	}
}

// trimmed forgets what had to be there: all of it may be evicted.
func (c *modelCache) trimmed() {
	for _, one := range c.manifests {
		one.until = time.Time{}
	}
	clear(c.promised)
}

// remove forgets a manifest that is not there any more. It takes the promises of
// its contents with it.
func (c *modelCache) remove(one *modelCached) {
	d := one.put.Manifest.Digest
	delete(c.manifests, d)
	maps.DeleteFunc(c.tags, func(_ string, at oci.Digest) bool { return at == d })
	for _, content := range one.contents {
		delete(c.promised, content)
	}
}

// collected is what the janitor leaves.
func (c *modelCache) collected() {
	c.t.Helper()
	var expired []*modelCached
	for d, one := range c.manifests {
		one.latest = c.latest(one)
		if !c.kept(d) {
			expired = append(expired, one)
		}
	}
	for _, one := range expired {
		_, err := c.Store.FindManifest(c.t.Context(), c.at(), oci.Reference{Digest: one.put.Manifest.Digest})
		switch {
		case fault.Is(err, fault.ManifestUnknown):
		case err != nil:
			c.t.Error(err)
		case one.latest.After(c.Now()):
			continue
		default:
			c.t.Errorf("%s is past its time", one.put.Manifest.Payload)
		}
		c.remove(one)
	}
	for content := range c.linked {
		if !c.holds(content) {
			delete(c.linked, content)
		}
	}
}

// compareCached reads everything that must be there.
func (c *modelCache) compareCached() {
	c.t.Helper()
	for d, one := range c.manifests {
		if c.kept(d) {
			c.there(c.at(), one.put)
		}
	}
	for tag, d := range c.tags {
		if got, err := c.Store.FindCachedTag(c.t.Context(), c.at(), tag); c.kept(d) && (err != nil || got.Manifest.Digest != d) {
			c.t.Errorf("%s is %s, %v; want %s", tag, got.Manifest.Digest, err, d)
		}
	}
	for content := range c.linked {
		if _, err := c.Store.FindBlob(c.t.Context(), c.at(), digestOf(content)); c.holds(content) && err != nil {
			c.t.Errorf("%s: %v", content, err)
		}
	}
}
